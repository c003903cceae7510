"""Where completed runs go, and how."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from ._base import Model, Positive


class ArchiveConfig(Model):
    """Where completed runs go, and how."""

    destination: Path | None = Field(None, description="default: the folder 'tape' under the state folder")
    database: str | None = Field(
        None,
        description="PostgreSQL: postgresql+psycopg://user@host/name; default: a file in the state folder",
    )
    analysis_timeout_s: Annotated[float, Field(ge=0)] = Field(
        600, description="wait so long for the live analysis"
    )
    bundle_gb: Positive = Field(
        100, description="size of a bundle [1e9 bytes]: small runs share one, big ones fill several"
    )
    bundle_wait_s: Annotated[float, Field(ge=0)] = Field(
        0,
        description="how long a smaller run waits for company of its experiment; 0: each has its own bundle",
    )
