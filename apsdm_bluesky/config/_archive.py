"""Where completed runs go."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from ._base import Model


class ArchiveConfig(Model):
    """Where completed runs go. Later issues add Globus; the first destination is a folder."""

    destination: Path | None = Field(None, description="default: the folder 'tape' under the state folder")
    analysis_timeout_s: Annotated[float, Field(ge=0)] = Field(
        600, description="wait so long for the live analysis"
    )
