"""Where completed runs go."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ._base import Model, Positive

Uuid = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
AbsolutePosix = Annotated[str, Field(pattern=r"^/([^/\x00]+(/[^/\x00]+)*)?/?$")]


class GlobusConfig(Model):
    """A destination that Globus Transfer moves files to. The client's secret never stands here."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.#-]*$")] = Field(
        "globus", description="the destination's name in records and manifests"
    )
    local_collection: Uuid = Field(description="the collection on this machine's files")
    local_root: Path = Field(description="the local folder that is the root of that collection's paths")
    collection: Uuid = Field(description="the destination's collection")
    base_path: AbsolutePosix = Field("/", description="the folder on the destination that paths start from")
    client_id: Uuid = Field(description="of the application registered with Globus")
    login: Literal["service", "user"] = Field(
        "service", description="as the application itself, or as the user that 'apsdm login' logged in"
    )
    secret_file: Path | None = Field(
        None, description="file with the client's secret, mode 0600; default: APSDM_GLOBUS_SECRET"
    )
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
    """Where completed runs go: a folder, or a Globus collection."""

    destination: Path | None = Field(None, description="default: the folder 'tape' under the state folder")
    globus: GlobusConfig | None = Field(None, description="send new runs to this collection instead")
    analysis_timeout_s: Annotated[float, Field(ge=0)] = Field(
        600, description="wait so long for the live analysis"
    )

    @property
    def collection(self) -> str:
        """The name of the destination that new runs go to."""
        return "local" if self.globus is None else self.globus.name

    @model_validator(mode="after")
    def _names_differ(self) -> "ArchiveConfig":
        if self.globus is not None and self.globus.name == "local":
            raise ValueError("globus.name: 'local' is the name of the local folder; choose another one")
        return self
