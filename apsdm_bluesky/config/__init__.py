"""The configuration of a beamline, `beamline.yml`, as models. No file is needed for the simulated beamline.

Unknown keys are refused with their path. Nothing here touches a disk but `load_config` and `load_model`,
which read one file.
"""

from ._archive import ArchiveConfig, GlobusConfig, GlobusLogin
from ._base import Overflow
from ._beamline import BeamlineConfig
from ._compute import GlobusComputeConfig
from ._detector import DetectorConfig
from ._experiments import DaqConfig, ExperimentsConfig, FacilityConfig
from ._folders import StateFolders
from ._load import faults_of, load_config, load_model
from ._people import LdapConfig, OidcConfig, PamConfig, PeopleConfig
from ._qmap import QMapConfig, RoiConfig
from ._reduction import ReductionConfig, TwoTimeConfig
from ._server import LiveOutputConfig, ServerConfig
from ._simulation import SimulationConfig
from ._stream import StreamGroupConfig
from ._triggers import TriggerConfig
from ._workflows import LocalProcessesConfig, WorkflowsConfig

__all__ = [
    "ArchiveConfig",
    "BeamlineConfig",
    "DaqConfig",
    "DetectorConfig",
    "ExperimentsConfig",
    "FacilityConfig",
    "GlobusComputeConfig",
    "GlobusConfig",
    "GlobusLogin",
    "LdapConfig",
    "LiveOutputConfig",
    "LocalProcessesConfig",
    "OidcConfig",
    "Overflow",
    "PamConfig",
    "PeopleConfig",
    "QMapConfig",
    "ReductionConfig",
    "RoiConfig",
    "ServerConfig",
    "SimulationConfig",
    "StateFolders",
    "StreamGroupConfig",
    "TriggerConfig",
    "TwoTimeConfig",
    "WorkflowsConfig",
    "faults_of",
    "load_config",
    "load_model",
]
