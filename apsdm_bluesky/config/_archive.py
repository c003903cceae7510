"""Where completed runs go."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ._base import Model, Positive

Uuid = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
AbsolutePosix = Annotated[str, Field(pattern=r"^/([^/\x00]+(/[^/\x00]+)*)?/?$")]

NotNegative = Annotated[float, Field(ge=0)]
EvidenceName = Literal["restored-sha256", "destination-md5"]


class GlobusLogin(Model):
    """Who logs in to Globus. The client's secret never stands here."""

    client_id: Uuid = Field(description="of the application registered with Globus")
    login: Literal["service", "user"] = Field(
        "service", description="as the application itself, or as the user that 'apsdm login' logged in"
    )
    secret_file: Path | None = Field(
        None, description="file with the client's secret, mode 0600; default: APSDM_GLOBUS_SECRET"
    )


class GlobusConfig(GlobusLogin):
    """A destination that Globus Transfer moves files to."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.#-]*$")] = Field(
        "globus", description="the destination's name in records and manifests"
    )
    local_collection: Uuid = Field(description="the collection on this machine's files")
    local_root: Path = Field(description="the local folder that is the root of that collection's paths")
    collection: Uuid = Field(description="the destination's collection")
    base_path: AbsolutePosix = Field("/", description="the folder on the destination that paths start from")
    data_access: tuple[Literal["local", "destination"], ...] = Field(
        (), description="which collections are mapped ones that need the data_access scope"
    )
    deadline_h: Positive = Field(48, description="a transfer that has not ended by then is given up [h]")

    @model_validator(mode="after")
    def _absolute_root(self) -> "GlobusConfig":
        if not self.local_root.is_absolute():
            raise ValueError(f"local_root: {self.local_root} is not absolute")
        if any(part in (".", "..") for part in self.base_path.split("/")):
            raise ValueError(f"base_path: {self.base_path} has a part '.' or '..'")
        return self


class ArchiveConfig(Model):
    """Where completed runs go, a folder or a Globus collection, and how."""

    destination: Path | None = Field(None, description="default: the folder 'tape' under the state folder")
    globus: GlobusConfig | None = Field(None, description="send new runs to this collection instead")
    database: str | None = Field(
        None,
        description="PostgreSQL: postgresql+psycopg://user@host/name; default: a file in the state folder",
    )
    analysis_timeout_s: NotNegative = Field(600, description="wait so long for the live analysis")
    late_file_s: NotNegative = Field(600, description="wait so long for files that the documents announce")
    bundle_gb: Positive = Field(
        100, description="size of a bundle [1e9 bytes]: small runs share one, big ones fill several"
    )
    bundle_wait_s: NotNegative = Field(
        0,
        description="how long a smaller run waits for company of its experiment; 0: each has its own bundle",
    )
    parallel: Annotated[int, Field(ge=1, le=64)] = Field(
        4, description="bundles that are worked on at a time"
    )
    verify: EvidenceName = Field(
        "restored-sha256", description="what VERIFIED rests on: reading back, or the destination's own MD5"
    )
    release_evidence: EvidenceName = Field(
        "restored-sha256", description="what local data are released on; restored-sha256 is the stricter"
    )
    keep_days: NotNegative = Field(30, description="local data stay so long after the run")
    retention_days: Positive | None = Field(730, description="how long the destination keeps what it has")
    expiry_warning_days: Positive = Field(90, description="warn so long before the retention ends")
    staging_s: NotNegative = Field(0, description="how long reading from tape usually waits; for estimates")
    drill_every_h: NotNegative = Field(0, description="hours between drills of the agent; 0: none")
    drill_bundles: Annotated[int, Field(ge=1)] = Field(1, description="bundles that a drill reads back")
    stuck_h: Positive = Field(24, description="tell of work that has not moved for so long")

    @property
    def collection(self) -> str:
        """The name of the destination that new runs go to."""
        return "local" if self.globus is None else self.globus.name

    @model_validator(mode="after")
    def _names_differ(self) -> "ArchiveConfig":
        if self.globus is not None and self.globus.name == "local":
            raise ValueError("globus.name: 'local' is the name of the local folder; choose another one")
        return self
