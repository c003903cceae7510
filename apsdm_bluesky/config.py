"""The configuration of a beamline, `beamline.yml`, as models. No file is needed for the simulated beamline.

Unknown keys are refused with their path. Nothing here touches a disk but `load_config`, which reads one file.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import ConfigError

__all__ = [
    "ArchiveConfig",
    "BeamlineConfig",
    "DetectorConfig",
    "LiveOutputConfig",
    "Overflow",
    "QMapConfig",
    "ReductionConfig",
    "RoiConfig",
    "ServerConfig",
    "SimulationConfig",
    "StateFolders",
    "StreamGroupConfig",
    "TwoTimeConfig",
    "faults_of",
    "load_config",
]

Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[float, Field(gt=0)]
Overflow = Literal["block", "drop", "spill"]
DetectorName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]

# Addresses of files and databases are made from the state folder; these have a meaning in them.
_NOT_IN_HOME = "%?#"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ServerConfig(_Model):
    """The Tiled server: where ours listens, or the address of one that somebody else runs."""

    host: str = "127.0.0.1"
    port: Port = 8020
    uri: Annotated[str, Field(pattern=r"^https?://[^/\s]+")] | None = Field(
        None, description="use this server and start none; its key comes from TILED_API_KEY"
    )


class DetectorConfig(_Model):
    """One detector behind an areaDetector IOC (or the simulated one)."""

    prefix: str = Field(description="EPICS prefix of the IOC, for instance '8idLambda2m:'")
    pva_channel: str | None = Field(None, description="NTNDArray channel; default: prefix + 'Pva1:Image'")
    ring_mb: Positive = Field(256, description="memory for frames between the network and the consumers")
    stall_timeout_s: Positive = Field(10.0, description="give up when no frame came for so long")
    layout: Literal["images", "events"] = Field(
        "images", description="what a message holds: dense images, or the packed words of non-zero pixels"
    )
    frames_per_message: Annotated[int, Field(ge=1)] = Field(
        1, description="frames in each message; the last one of an acquisition may bring fewer"
    )
    batch_age_s: Positive = Field(0.5, description="frames wait no longer than this for a full batch")
    on_loss: Literal["mark", "fail"] = Field(
        "mark", description="frames are missing: the run tells (mark), or fails (fail)"
    )
    on_overflow: Overflow = Field(
        "block",
        description="frames come faster than they are stored: hold the detector's queue, drop and count, or "
        "spill to disk",
    )
    credit: Annotated[int, Field(ge=0)] = Field(
        0, description="messages that a source of ours may be ahead of us; 0: the source does not wait"
    )
    write_raw: bool = Field(True, description="store raw frames unless the plan says otherwise")
    live_prefix: str | None = Field(
        None, description="of the channels with running results; default: prefix + 'APSDM:'"
    )
    record: bool = Field(False, description="keep every message as it comes, beside the raw frames")
    raw_store: Literal["auto", "dense", "events"] = Field(
        "auto", description="how: images, events of non-zero pixels, or by the occupancy of the first frames"
    )


class QMapConfig(_Model):
    """Which pixels belong to which q bin: a pySimpleMask file, or bins about the beam.

    The bins are rings in pixels where only the centre is known, and in q and azimuth where the geometry is:
    from pyFAI's file, or the centre with distance, energy and pixel size.
    """

    file: Path | None = None
    poni: Path | None = Field(None, description="the geometry as pyFAI writes it; needs the extra 'pyfai'")
    center: tuple[float, float] | None = Field(None, description="beam centre (x, y) = (column, row) [px]")
    distance_m: Positive | None = Field(None, description="from the sample to the beam's spot [m]")
    energy_kev: Positive | None = Field(None, description="photon energy [keV]")
    pixel_size_m: Positive | None = Field(None, description="side of a pixel [m]")
    mask: Path | None = Field(None, description="npy, TIFF or pySimpleMask file; not 0: a good pixel")
    dynamic_bins: Annotated[int, Field(ge=1)] = 8
    static_per_dynamic: Annotated[int, Field(ge=1)] = 3
    phi_bins: Annotated[int, Field(ge=1)] = Field(1, description="sectors of a dynamic ring")
    static_phi_per_dynamic: Annotated[int, Field(ge=1)] = Field(1, description="static sectors in each")
    spacing: Literal["linear", "log"] = Field("linear", description="of the rings' edges in q")
    q_min: Annotated[float, Field(ge=0)] | None = Field(None, description="inner edge [1/angstrom]")
    q_max: Positive | None = Field(None, description="outer edge [1/angstrom]")
    r_min: Annotated[float, Field(ge=0)] | None = Field(None, description="inner radius [px]")
    r_max: Positive | None = Field(None, description="outer radius [px]")

    @property
    def has_geometry(self) -> bool:
        """Whether bins can be made in q."""
        return self.poni is not None or self.distance_m is not None

    @model_validator(mode="after")
    def _one_source(self) -> "QMapConfig":
        if sum(source is not None for source in (self.file, self.poni, self.center)) != 1:
            raise ValueError("give one of 'file', 'poni' and 'center'")
        place = [
            name for name in ("distance_m", "energy_kev", "pixel_size_m") if getattr(self, name) is not None
        ]
        if place and (len(place) < 3 or self.center is None):
            raise ValueError("'distance_m', 'energy_kev' and 'pixel_size_m' go together, and with 'center'")
        return self

    @model_validator(mode="after")
    def _keys_that_count(self) -> "QMapConfig":
        if self.file is not None and (given := self._given(set(type(self).model_fields) - {"file", "mask"})):
            raise ValueError(f"with 'file' the bins are given: leave out {given}")
        only_in_q = {"phi_bins", "static_phi_per_dynamic", "spacing", "q_min", "q_max"}
        if not self.has_geometry and (given := self._given(only_in_q)):
            raise ValueError(f"{given}: give 'poni', or 'distance_m', 'energy_kev' and 'pixel_size_m'")
        return self

    def _given(self, names: set[str]) -> str:
        """Those that have another value than the default."""
        fields = type(self).model_fields
        return ", ".join(
            name for name in fields if name in names and getattr(self, name) != fields[name].default
        )


class RoiConfig(_Model):
    """A rectangle of pixels whose counts are told against time."""

    x: Annotated[int, Field(ge=0)] = Field(description="first column [px]")
    y: Annotated[int, Field(ge=0)] = Field(description="first row [px]")
    width: Annotated[int, Field(ge=1)] = Field(description="columns [px]")
    height: Annotated[int, Field(ge=1)] = Field(description="rows [px]")


class TwoTimeConfig(_Model):
    """The two-time correlation, where it is asked for."""

    bins: tuple[Annotated[int, Field(ge=1)], ...] = Field((), description="dynamic bins, from 1; none: off")
    memory_mb: Positive = Field(
        256, description="for counts and matrices: it sets how fine the time bins are"
    )


class ReductionConfig(_Model):
    """What is computed while frames arrive."""

    qmap: QMapConfig | None = Field(None, description="default: rings about the simulated beam centre")
    delays_per_level: Annotated[int, Field(ge=2)] = 4
    definition: Literal["boost-corr", "scikit-beam"] = Field(
        "boost-corr", description="whose delays and normalisation g2 has"
    )
    model: Literal["single", "stretched"] = Field(
        "single", description="of the decays that are fitted: one exponential, or a stretched one"
    )
    segment_frames: Annotated[int, Field(ge=0)] = Field(
        0, description="length of the time segments that g2 is also given for; 0: none"
    )
    rois: dict[str, RoiConfig] = Field({}, description="regions of interest, by name")
    two_time: TwoTimeConfig = TwoTimeConfig()
    threads: Annotated[int, Field(ge=1)] | None = Field(
        None, description="for the correlation; default: half of the cores that the process may use"
    )
    interval_s: Positive = Field(1.0, description="seconds between running results")
    on_overflow: Overflow = Field(
        "drop",
        description="frames come faster than they are reduced: hold the detector's queue, drop and count, or "
        "spill to disk",
    )
    hot_pixel_frames: Annotated[int, Field(ge=0)] = Field(
        20, description="frames used to find hot pixels; 0: do not look"
    )


class LiveOutputConfig(_Model):
    """Running results as PVA channels, for EPICS displays."""

    enabled: bool = True
    interface: Annotated[str, Field(pattern=r"^\d{1,3}(\.\d{1,3}){3}$")] = Field(
        "127.0.0.1", description="IPv4 address to listen at; 0.0.0.0: every interface"
    )


class ArchiveConfig(_Model):
    """Where completed runs go. Later issues add Globus; the first destination is a folder."""

    destination: Path | None = Field(None, description="default: the folder 'tape' under the state folder")
    analysis_timeout_s: Annotated[float, Field(ge=0)] = Field(
        600, description="wait so long for the live analysis"
    )


class StreamGroupConfig(_Model):
    """The group of processes that reduces a detector's frames where one process is too slow."""

    detector: DetectorName | None = Field(None, description="whose frames; default: the only detector")
    channel: str | None = Field(None, description="read this NTNDArray channel in place of the detector's")
    collector: str | None = Field(None, description="channel of the collector; default: prefix + 'Stream'")
    consumers: Annotated[int, Field(ge=1, le=256)] = Field(2, description="processes on this machine")
    frames: Annotated[int, Field(ge=1)] | None = Field(
        None, description="of a series; default: as many as come until the detector is silent"
    )
    interface: str = Field("127.0.0.1", description="address that the collector listens at")
    queue: Annotated[int, Field(ge=1)] = Field(256, description="messages the IOC keeps for each consumer")
    window: Annotated[int, Field(ge=1)] = Field(256, description="messages held for one that is late")
    restarts: Annotated[int, Field(ge=0)] = Field(5, description="how often a dead consumer is started again")


class SimulationConfig(_Model):
    """The simulated beamline: an XPCS sample and an areaDetector IOC in a process of its own."""

    shape: tuple[Annotated[int, Field(ge=8, le=8192)], Annotated[int, Field(ge=8, le=8192)]] = Field(
        (256, 256), description="rows, columns"
    )
    center: tuple[float, float] | None = Field(
        None, description="beam centre (x, y) [px]; default: the middle"
    )
    seed: Annotated[int, Field(ge=0)] = 1
    diffusion: Positive = Field(8e-6, description="Gamma = diffusion * r^2 per frame, r in pixels")
    contrast: Annotated[float, Field(gt=0, le=1)] = 1.0
    mean_counts: Positive = Field(1.0, description="photons a pixel and frame on the brightest ring")
    beam_stop_radius: Annotated[float, Field(ge=0)] = Field(12.0, description="[px]")
    dead_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.002
    frames_file: Path | None = Field(None, description="send the frames of this file instead (replay)")
    speed: Annotated[float, Field(ge=0)] = Field(
        1.0, description="how much faster than its time frames are sent; 0: as fast as they are taken"
    )
    codec: Literal["none", "lz4", "blosc", "bslz4"] = Field("none", description="compress what is sent")


def _simulated_detectors() -> dict[str, DetectorConfig]:
    return {"sim_det": DetectorConfig(prefix="apsdm:sim:")}


class BeamlineConfig(_Model):
    """One beamline. Without arguments: the simulated one."""

    name: str = "simulated"
    home: Path | None = Field(None, description="state folder; default: $APSDM_HOME, else ~/.apsdm")
    server: ServerConfig = ServerConfig()
    detectors: Annotated[dict[DetectorName, DetectorConfig], Field(min_length=1)] = Field(
        default_factory=_simulated_detectors, description="by the name that the device has in Python"
    )
    simulation: SimulationConfig | None = Field(
        None, description="start a simulated detector with the session"
    )
    reduction: ReductionConfig = ReductionConfig()
    live_output: LiveOutputConfig = LiveOutputConfig()
    archive: ArchiveConfig = ArchiveConfig()
    stream: StreamGroupConfig = StreamGroupConfig()

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
    def folders(self) -> "StateFolders":
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


class StateFolders(_Model):
    """The places under the state folder. Only names: nothing is created here."""

    root: Path

    @property
    def spool(self) -> Path:
        """Documents, one folder a session."""
        return self.root / "spool"

    @property
    def catalog(self) -> Path:
        """The Tiled server's databases and its API key."""
        return self.root / "catalog"

    @property
    def raw(self) -> Path:
        """Raw frames written by devices."""
        return self.root / "raw"

    @property
    def spill(self) -> Path:
        """Frames that wait on disk for a slow consumer, in files without a name."""
        return self.root / "spill"

    @property
    def archive(self) -> Path:
        """The archive's ledger and the bundles under construction."""
        return self.root / "archive"

    @property
    def tape(self) -> Path:
        """The local folder that stands in for the tape store."""
        return self.root / "tape"

    @property
    def stream(self) -> Path:
        """Results and ledgers of the series that `apsdm stream` takes."""
        return self.root / "stream"

    @property
    def logs(self) -> Path:
        """Log files of the processes that `apsdm` starts."""
        return self.root / "logs"


def load_config(path: Path | None = None) -> BeamlineConfig:
    """Read `beamline.yml`; without a path, the simulated beamline.

    Raises
    ------
    ConfigError
        The file cannot be read, is no YAML mapping, or has a key or value that is not allowed.
    """
    if path is None:
        return BeamlineConfig()
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give a readable beamline.yml") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is no text ({error.reason}); give a beamline.yml in UTF-8") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is no YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: is nested too deeply; give a beamline.yml") from error
    if not isinstance(data, dict | None):
        raise ConfigError(f"{path}: holds no mapping of keys to values at the top")
    try:
        return BeamlineConfig.model_validate(data or {})
    except ValidationError as error:
        raise ConfigError(f"{path}: {faults_of(error)}") from error


def faults_of(error: ValidationError) -> str:
    """Every fault with the path of its key, in one line."""
    faults = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"]) or "the file"
        text = (
            "unknown key"
            if fault["type"] == "extra_forbidden"
            else fault["msg"].removeprefix("Value error, ")
        )
        faults.append(f"{key}: {text}")
    return "; ".join(faults)
