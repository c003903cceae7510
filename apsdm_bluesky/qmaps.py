"""The q-map that a configuration asks for."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from apsdm_bluesky.config import BeamlineConfig, QMapConfig
from apsdm_bluesky.errors import ConfigError, ReductionError
from apsdm_bluesky.formats import read_qmap
from apsdm_bluesky.reduction import QMap
from apsdm_bluesky.sim import SpeckleSample

__all__ = ["QMapFor", "dynamic_bins", "qmap_chooser"]

_SIMULATED_BINS = 8

QMapFor = Callable[[tuple[int, int]], QMap]


def qmap_chooser(config: BeamlineConfig) -> QMapFor | None:
    """What gives the q-map for frames of a shape; None where the configuration has none.

    Raises
    ------
    FormatError
        The configured file cannot be read as a q-map.
    """
    configured = config.reduction.qmap
    if configured is not None and configured.file is not None:
        return partial(_fitting_qmap, configured.file, read_qmap(configured.file))
    if configured is not None:
        return partial(_rings, configured)
    if config.simulation is not None and config.simulation.frames_file is None:
        return partial(_simulated_qmap, SpeckleSample(config.simulation))
    return None


def _rings(config: QMapConfig, shape: tuple[int, int]) -> QMap:
    if config.center is None:
        raise ConfigError("reduction.qmap: give either 'file' or 'center'")
    return QMap.rings(
        shape,
        config.center,
        dynamic_bins=config.dynamic_bins,
        static_per_dynamic=config.static_per_dynamic,
        r_min=config.r_min,
        r_max=config.r_max,
    )


def _fitting_qmap(path: Path, qmap: QMap, shape: tuple[int, int]) -> QMap:
    if qmap.shape != shape:
        raise ReductionError(
            f"{path}: the q-map is {qmap.shape}, the frames are {shape} (rows, columns); use one that fits"
        )
    return qmap


def dynamic_bins(config: BeamlineConfig) -> int:
    """Dynamic bins of the q-maps that `qmap_chooser` gives, whatever the shape of the frames."""
    configured = config.reduction.qmap
    if configured is None:
        return _SIMULATED_BINS
    return configured.dynamic_bins if configured.file is None else len(read_qmap(configured.file).q)


def _simulated_qmap(sample: SpeckleSample, shape: tuple[int, int]) -> QMap:
    """Rings on the sample's own blemish mask.

    The innermost are left out: their rates spread too far to be one.
    """
    outer = min(shape) / 2 - 8
    return QMap.rings(
        shape, sample.center, dynamic_bins=_SIMULATED_BINS, r_min=outer / 3, r_max=outer, mask=sample.mask
    )
