"""Experiments, and the files that detectors write themselves."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ._base import Model, Positive

_Count = Annotated[int, Field(ge=1)]


class FacilityConfig(Model):
    """Where proposals and ESAFs come from."""

    file: Path | None = Field(
        None,
        description="YAML with proposals and esafs; default: none, or the sample of the simulated beamline",
    )
    plugin: str | None = Field(
        None, description="in place of the file: an entry point of the group apsdm_bluesky.facility"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> "FacilityConfig":
        if self.file is not None and self.plugin is not None:
            raise ValueError("give file or plugin, not both")
        return self


class ExperimentsConfig(Model):
    """Experiments of this beamline, and where their files lie."""

    station: str | None = Field(None, description="station of new experiments; default: the beamline's name")
    root: Path | None = Field(
        None,
        description="a folder for each experiment, with data, analysis and system in it; "
        "default: data in the state folder",
    )
    database: str | None = Field(
        None,
        description="PostgreSQL: postgresql+psycopg://user@host/name; default: a file in the state folder",
    )
    facility: FacilityConfig = FacilityConfig()


class DaqConfig(Model):
    """Files that detectors write themselves: how folders are watched, and when a file is complete."""

    sources: tuple[Path, ...] = Field(
        (),
        description="folders that DAQs and uploads may read; none: any, but over the network for staff only",
    )
    database: str | None = Field(
        None,
        description="PostgreSQL: postgresql+psycopg://user@host/name; default: a file in the state folder",
    )
    watch: Literal["auto", "inotify", "poll"] = Field(
        "auto", description="how changes are seen; auto: inotify, but polling on network file systems"
    )
    poll_s: Positive = Field(5, description="the whole folder is looked through so often [s]")
    settle_s: Positive = Field(2, description="a file is complete when it was not changed for so long [s]")
    rules: dict[str, Literal["settled", "hdf5", "tiff", "rigaku"]] = Field(
        default_factory=dict,
        description="by a pattern of names, what else must hold: the first that fits; "
        "default: by suffix, HDF5 files are closed, TIFFs are whole",
    )
    parallel: _Count = Field(2, description="files that are copied at a time")
    catalogue_s: Positive = Field(10, description="files that were copied wait so long for others [s]")
