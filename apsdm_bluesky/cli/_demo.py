"""`apsdm demo` and `apsdm replay`: one run through everything, simulated frames or real ones."""

import math
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from apsdm_bluesky.config import (
    BeamlineConfig,
    QMapConfig,
    ReductionConfig,
    SimulationConfig,
    faults_of,
)
from apsdm_bluesky.errors import ConfigError

from ._logs import log_to_file
from ._options import HomeOption, JsonOption, configured


def demo(
    frames: Annotated[int, typer.Option(min=16, help="Frames to take.")] = 2000,
    rate: Annotated[float, typer.Option(min=0.1, help="Frames a second.")] = 500.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulated sample.")] = 1,
    keep_open: Annotated[bool, typer.Option("--keep-open", help="Keep the server until Ctrl-C.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a simulated XPCS series: stream, reduce, catalogue, archive, and compare with the known answer."""
    config = _beamline(home, SimulationConfig(seed=seed), None)
    log_to_file(config.folders)
    from ._end_to_end import end_to_end

    end_to_end(
        config,
        frames=frames,
        rate=rate,
        as_json=as_json,
        keep_open=keep_open,
        md={"sample": "simulated diffusing particles", "purpose": "demo"},
    )


def replay(
    file: Annotated[Path, typer.Argument(help="Frames: .npy, .npz, or a .zip of one .npy.")],
    rings: Annotated[int, typer.Option(min=1, help="Number of dynamic q bins.")] = 8,
    center: Annotated[
        str | None, typer.Option(help="Beam centre X,Y in pixels; default: the middle.")
    ] = None,
    qmap: Annotated[Path | None, typer.Option(help="A pySimpleMask q-map in place of rings.")] = None,
    rate: Annotated[float, typer.Option(min=0.1, help="Frames a second.")] = 100.0,
    keep_open: Annotated[bool, typer.Option("--keep-open", help="Keep the server until Ctrl-C.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stream the frames of a file over PVA through the same device, reduction, catalogue and archive."""
    # What is wrong with the input is told before anything is started.
    point = None if center is None else _point(center)
    from apsdm_bluesky.formats import read_frames

    stack = read_frames(file)
    shape = (int(stack.shape[1]), int(stack.shape[2]))
    middle = ((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    try:
        bins = (
            QMapConfig(file=qmap)
            if qmap is not None
            else QMapConfig(center=point or middle, dynamic_bins=rings)
        )
        simulation = SimulationConfig(shape=shape, frames_file=file.absolute())
    except ValidationError as error:
        raise ConfigError(f"{file}, {shape[1]} x {shape[0]} pixels: {faults_of(error)}") from error
    config = _beamline(home, simulation, bins)
    _check_qmap(config, shape)
    log_to_file(config.folders)
    from ._end_to_end import end_to_end

    end_to_end(
        config,
        frames=len(stack),
        rate=rate,
        as_json=as_json,
        keep_open=keep_open,
        md={"sample": file.name, "purpose": "replay", "frames_file": str(file.absolute())},
    )


def _beamline(home: Path | None, simulation: SimulationConfig, qmap: QMapConfig | None) -> BeamlineConfig:
    # The simulated detector's queue may wait: every frame is reduced, however slow the machine.
    return configured(
        None, home, simulation=simulation, reduction=ReductionConfig(qmap=qmap, on_overflow="block")
    )


def _check_qmap(config: BeamlineConfig, shape: tuple[int, int]) -> None:
    """Rings and masks that do not fit the frames are told before the run."""
    from apsdm_bluesky.session import qmap_chooser

    if (qmap_for := qmap_chooser(config)) is not None:
        qmap_for(shape)


def _point(text: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ConfigError(f"--center {text!r}: give two numbers, X,Y in pixels, for instance 143,132")
    return x, y
