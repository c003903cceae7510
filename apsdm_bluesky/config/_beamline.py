"""One beamline: the whole of `beamline.yml`."""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from apsdm_bluesky.errors import ConfigError

from ._archive import ArchiveConfig
from ._base import Model, PythonName
from ._detector import DetectorConfig
from ._experiments import DaqConfig, ExperimentsConfig
from ._folders import StateFolders
from ._people import PeopleConfig
from ._reduction import ReductionConfig
from ._server import LiveOutputConfig, ServerConfig
from ._simulation import SimulationConfig
from ._stream import StreamGroupConfig
from ._workflows import WorkflowsConfig

# Addresses of files and databases are made from the state folder; these have a meaning in them.
_NOT_IN_HOME = "%?#"


def _simulated_detectors() -> dict[str, DetectorConfig]:
    return {"sim_det": DetectorConfig(prefix="apsdm:sim:")}


class BeamlineConfig(Model):
    """One beamline. Without arguments: the simulated one."""

    name: str = "simulated"
    home: Path | None = Field(None, description="state folder; default: $APSDM_HOME, else ~/.apsdm")
    server: ServerConfig = ServerConfig()
    people: PeopleConfig = PeopleConfig()
    detectors: Annotated[dict[PythonName, DetectorConfig], Field(min_length=1)] = Field(
        default_factory=_simulated_detectors, description="by the name that the device has in Python"
    )
    simulation: SimulationConfig | None = Field(
        None, description="start a simulated detector with the session"
    )
    reduction: ReductionConfig = ReductionConfig()
    live_output: LiveOutputConfig = LiveOutputConfig()
    archive: ArchiveConfig = ArchiveConfig()
    stream: StreamGroupConfig = StreamGroupConfig()
    workflows: WorkflowsConfig = WorkflowsConfig()
    experiments: ExperimentsConfig = ExperimentsConfig()
    daq: DaqConfig = DaqConfig()

    @model_validator(mode="before")
    @classmethod
    def _simulated_unless_detectors(cls, data: Any) -> Any:
        if isinstance(data, dict) and "detectors" not in data and "simulation" not in data:
            return {**data, "simulation": {}}
        return data

    @model_validator(mode="after")
    def _stream_has_a_detector(self) -> "BeamlineConfig":
        if self.stream.detector is not None and self.stream.detector not in self.detectors:
            raise ValueError(f"stream.detector: there is no detector {self.stream.detector!r}")
        return self

    @property
    def folders(self) -> StateFolders:
        """Where this beamline's state lies.

        Raises
        ------
        ConfigError
            The folder's name cannot be used in the address of a file.
        """
        chosen = self.home or os.environ.get("APSDM_HOME") or Path("~/.apsdm")
        root = Path(os.path.normpath(Path(chosen).expanduser().absolute()))
        if any(character in str(root) for character in _NOT_IN_HOME) or not str(root).isprintable():
            raise ConfigError(
                f"state folder {str(root)!r}: {' '.join(_NOT_IN_HOME)} and control characters cannot be in "
                "its name; choose another one"
            )
        return StateFolders(root=root)

    @property
    def station(self) -> str:
        """The station of new experiments."""
        return self.experiments.station or self.name

    @property
    def experiments_root(self) -> Path:
        """Where each experiment has its folder."""
        return self.experiments.root or self.folders.data
