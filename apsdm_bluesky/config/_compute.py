"""A remote machine that runs stages of workflows through Globus Compute."""

from typing import Any

from pydantic import Field, model_validator

from ._archive import AbsolutePosix, GlobusLogin, Uuid


class GlobusComputeConfig(GlobusLogin):
    """A Globus Compute endpoint, as ALCF's, and the folder that its tasks work in."""

    endpoint: Uuid = Field(description="the Globus Compute endpoint that runs the tasks")
    root: AbsolutePosix | None = Field(
        None,
        description="the folder at the remote in which each task has a folder; "
        "default: the remote sees this machine's folders under the same paths",
    )
    python: str | None = Field(
        None, min_length=1, description="the Python that watches over commands; default: the endpoint's own"
    )
    collection: Uuid | None = Field(
        None, description="the collection that results come from; goes with `root`"
    )
    collection_path: AbsolutePosix = Field("/", description="the path of `root` on that collection")
    function: Uuid | None = Field(
        None, description="our function, where it is registered already; default: registered once, and kept"
    )
    endpoint_config: dict[str, Any] = Field(
        default_factory=dict, description="what the endpoint's template asks for: account, queue, walltime"
    )

    @model_validator(mode="after")
    def _fits(self) -> "GlobusComputeConfig":
        if (self.root is None) != (self.collection is None):
            raise ValueError("root and collection go together: give both, or none where folders are shared")
        for key in ("root", "collection_path"):
            if any(part in (".", "..") for part in (getattr(self, key) or "").split("/")):
                raise ValueError(f"{key}: {getattr(self, key)} has a part '.' or '..'")
        return self
