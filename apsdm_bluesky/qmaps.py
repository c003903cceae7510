"""The q-map that a configuration asks for."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.config import BeamlineConfig, QMapConfig
from apsdm_bluesky.errors import ConfigError, ReductionError
from apsdm_bluesky.formats import read_mask, read_poni, read_qmap
from apsdm_bluesky.reduction import Geometry, QMap
from apsdm_bluesky.sim import SpeckleSample

__all__ = ["QMapFor", "dynamic_bins", "qmap_chooser"]

_SIMULATED_BINS = 8

QMapFor = Callable[[tuple[int, int]], QMap]


def qmap_chooser(config: BeamlineConfig) -> QMapFor | None:
    """What gives the q-map for frames of a shape; None where the configuration has none.

    Raises
    ------
    FormatError
        A configured file cannot be read as what it should be.
    ReductionError
        The configured geometry is impossible.
    """
    configured = config.reduction.qmap
    if configured is not None:
        return _configured(configured)
    if config.simulation is not None and config.simulation.frames_file is None:
        return partial(_simulated_qmap, SpeckleSample(config.simulation))
    return None


def dynamic_bins(config: BeamlineConfig) -> int:
    """Dynamic bins of the q-maps that `qmap_chooser` gives, whatever the shape of the frames."""
    configured = config.reduction.qmap
    if configured is None:
        return _SIMULATED_BINS
    if configured.file is not None:
        return len(read_qmap(configured.file).q)
    return configured.dynamic_bins * configured.phi_bins


def _configured(config: QMapConfig) -> QMapFor:
    """The files are read here, so that a bad one is told before any frame comes."""
    mask = None if config.mask is None else read_mask(config.mask)
    qmap = None if config.file is None else read_qmap(config.file)
    geometry = _geometry(config)

    def qmap_for(shape: tuple[int, int]) -> QMap:
        if mask is not None:
            _check_shape(config.mask, "mask", mask.shape, shape)
        if qmap is not None:
            _check_shape(config.file, "q-map", qmap.shape, shape)
            return qmap if mask is None else qmap.without(~mask)
        return _rings(config, shape, mask) if geometry is None else _partition(config, shape, geometry, mask)

    return qmap_for


def _geometry(config: QMapConfig) -> Geometry | None:
    if config.poni is not None:
        return read_poni(config.poni)
    values = (config.center, config.distance_m, config.energy_kev, config.pixel_size_m)
    center, distance_m, energy_kev, pixel_size_m = values
    if center is None or distance_m is None or energy_kev is None or pixel_size_m is None:
        return None
    return Geometry(center=center, distance_m=distance_m, energy_kev=energy_kev, pixel_size_m=pixel_size_m)


def _rings(config: QMapConfig, shape: tuple[int, int], mask: NDArray[np.bool_] | None) -> QMap:
    if config.center is None:
        raise ConfigError("reduction.qmap: give one of 'file', 'poni' and 'center'")
    return QMap.rings(
        shape,
        config.center,
        dynamic_bins=config.dynamic_bins,
        static_per_dynamic=config.static_per_dynamic,
        r_min=config.r_min,
        r_max=config.r_max,
        mask=mask,
    )


def _partition(
    config: QMapConfig, shape: tuple[int, int], geometry: Geometry, mask: NDArray[np.bool_] | None
) -> QMap:
    return QMap.partition(
        shape,
        geometry,
        dynamic_bins=config.dynamic_bins,
        static_per_dynamic=config.static_per_dynamic,
        phi_bins=config.phi_bins,
        static_phi_per_dynamic=config.static_phi_per_dynamic,
        spacing=config.spacing,
        q_min=config.q_min,
        q_max=config.q_max,
        r_min=config.r_min,
        r_max=config.r_max,
        mask=mask,
    )


def _check_shape(path: Path | None, what: str, has: tuple[int, ...], shape: tuple[int, int]) -> None:
    if has != shape:
        raise ReductionError(
            f"{path}: the {what} is {has}, the frames are {shape} (rows, columns); use one that fits"
        )


def _simulated_qmap(sample: SpeckleSample, shape: tuple[int, int]) -> QMap:
    """Rings on the sample's own blemish mask.

    The innermost are left out: their rates spread too far to be one.
    """
    outer = min(shape) / 2 - 8
    return QMap.rings(
        shape, sample.center, dynamic_bins=_SIMULATED_BINS, r_min=outer / 3, r_max=outer, mask=sample.mask
    )
