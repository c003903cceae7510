"""Which q-map a command's options ask for."""

import math
from pathlib import Path
from typing import Annotated

import typer

from apsdm_bluesky.config import QMapConfig
from apsdm_bluesky.errors import ConfigError

RINGS = 8

CenterOption = Annotated[
    str | None, typer.Option(help="Beam centre X,Y in pixels; default: the middle.", show_default=False)
]
QMapOption = Annotated[
    Path | None, typer.Option(help="A pySimpleMask q-map in place of rings.", show_default=False)
]
Point = tuple[float, float]


def bins_of(shape: tuple[int, int], rings: int, center: Point | None, qmap: Path | None) -> QMapConfig:
    """The q-map for frames of a shape (ny, nx): the file's, or rings."""
    if qmap is not None:
        return QMapConfig(file=qmap)
    ny, nx = shape
    return QMapConfig(center=center or ((nx - 1) / 2, (ny - 1) / 2), dynamic_bins=rings)


def point_of(center: str | None) -> Point | None:
    """X,Y of `--center`.

    Raises
    ------
    ConfigError
        It is no point.
    """
    if center is None:
        return None
    try:
        x, y = (float(part) for part in center.split(","))
    except ValueError:
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ConfigError(f"--center {center!r}: give two numbers, X,Y in pixels, for instance 143,132")
    return x, y
