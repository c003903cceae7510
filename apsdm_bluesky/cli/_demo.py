"""`apsdm demo` and `apsdm replay`: one run through everything, simulated frames or real ones."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from apsdm_bluesky.config import (
    BeamlineConfig,
    DetectorConfig,
    QMapConfig,
    ReductionConfig,
    SimulationConfig,
    faults_of,
)
from apsdm_bluesky.errors import ConfigError

from ._bins import RINGS, CenterOption, QMapOption, bins_of, point_of
from ._logs import log_to_file
from ._options import HomeOption, JsonOption, configured

if TYPE_CHECKING:
    from apsdm_bluesky.formats import FrameSeries, Recording

_RATE = 100.0  # frames a second of a file that tells none
_CREDIT = 8  # messages
# A message of packed events: enough to fill the network, few enough for the ring.
_EVENT_FRAMES, _EVENT_BYTES = 1000, 4 * 2**20


def demo(
    frames: Annotated[int, typer.Option(min=16, help="Frames to take.")] = 2000,
    rate: Annotated[float, typer.Option(min=0.1, help="Frames a second.")] = 500.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulated sample.")] = 1,
    keep_open: Annotated[bool, typer.Option("--keep-open", help="Keep the server until Ctrl-C.")] = False,
    globus_sim: Annotated[
        bool,
        typer.Option("--globus-sim", help="Archive through a stand-in for Globus, with a simulated tape."),
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a simulated XPCS series: stream, reduce, catalogue, archive, and compare with the known answer."""
    config = _beamline(home, SimulationConfig(seed=seed), None)
    log_to_file(config.folders)
    from ._end_to_end import end_to_end

    with ExitStack() as stack:
        if globus_sim:
            from ._globus_sim import simulated_globus

            config = stack.enter_context(simulated_globus(config))
        end_to_end(
            config,
            frames=frames,
            rate=rate,
            as_json=as_json,
            keep_open=keep_open,
            md={"sample": "simulated diffusing particles", "purpose": "demo"},
        )


def replay(
    file: Annotated[
        Path,
        typer.Argument(
            help="A recording (.arrows), or frames: .npy, .npz, .zip of one .npy, areaDetector HDF5 (.h5), "
            "Rigaku (.bin, .bin.000 of six), .imm."
        ),
    ],
    rings: Annotated[int, typer.Option(min=1, help="Number of dynamic q bins.")] = RINGS,
    center: CenterOption = None,
    qmap: QMapOption = None,
    speed: Annotated[
        float, typer.Option(min=0, help="Times the recorded pace; 0: as fast as frames are taken.")
    ] = 1.0,
    rate: Annotated[
        float | None,
        typer.Option(min=0.1, help="Frames a second; default: the file's, 100 where it tells none."),
    ] = None,
    keep_open: Annotated[bool, typer.Option("--keep-open", help="Keep the server until Ctrl-C.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stream a recording, or a file's frames, over PVA through the same device, reduction and archive."""
    # What is wrong with the input is told before anything is started.
    point = point_of(center)
    from apsdm_bluesky.formats import open_replay

    replayed = open_replay(file)
    ny, nx = replayed.shape
    try:
        simulation = SimulationConfig(shape=(ny, nx), frames_file=file.absolute(), speed=speed)
        detector = _replayed_detector(file, replayed)
    except ValidationError as error:
        raise ConfigError(f"{file}, {nx} x {ny} pixels: {faults_of(error)}") from error
    bins = bins_of((ny, nx), rings, point, qmap)
    config = _beamline(home, simulation, bins).model_copy(update={"detectors": {"sim_det": detector}})
    _check_qmap(config, (ny, nx))
    log_to_file(config.folders)
    from ._end_to_end import end_to_end

    end_to_end(
        config,
        frames=replayed.frames,
        rate=rate or (1 / replayed.period_s if replayed.period_s else _RATE),
        as_json=as_json,
        keep_open=keep_open,
        md={"sample": file.name, "purpose": "replay", "frames_file": str(file.absolute())},
    )


def _replayed_detector(file: Path, replayed: "FrameSeries | Recording") -> DetectorConfig:
    """How the simulated detector sends it: nothing is lost, for it waits for us."""
    from apsdm_bluesky.formats import Recording

    each = 1
    if isinstance(replayed, Recording):
        each = replayed.acquisition.frames_per_message
    elif replayed.events:
        frame_bytes = max(1, file.stat().st_size // replayed.frames)
        each = max(1, min(_EVENT_FRAMES, replayed.frames, _EVENT_BYTES // frame_bytes))
    return DetectorConfig(
        prefix="apsdm:sim:",
        layout="events" if replayed.events else "images",
        frames_per_message=each,
        credit=_CREDIT,
    )


def _beamline(home: Path | None, simulation: SimulationConfig, qmap: QMapConfig | None) -> BeamlineConfig:
    # The simulated detector's queue may wait: every frame is reduced, however slow the machine.
    return configured(
        None, home, simulation=simulation, reduction=ReductionConfig(qmap=qmap, on_overflow="block")
    )


def _check_qmap(config: BeamlineConfig, shape: tuple[int, int]) -> None:
    """Rings and masks that do not fit the frames are told before the run."""
    from apsdm_bluesky.qmaps import qmap_chooser

    if (qmap_for := qmap_chooser(config)) is not None:
        qmap_for(shape)
