"""Q-maps for pySimpleMask, boost-corr and pyXpcsViewer (HDF5)."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.reduction import QMap

from ._qmap import EMPTIED

# Of the layout, as pySimpleMask numbers it.
_VERSION = "0.1"


def write_qmap(target: Path | h5py.Group, qmap: QMap) -> None:
    """Write a q-map in the layout of pySimpleMask: a new file's group `/qmap`, or into a group.

    `read_qmap` gives back an equal map (with equal `hash`, the group's attribute) as long as there is more
    than one phi where there is a phi at all. `mask` and `blemish` are the same. Bins without a pixel keep
    their numbers; the attribute `emptied` of a map tells them (boost-corr leaves them out). pixel_size,
    detector_distance and energy are there when the geometry is known, `detector_rotations` [rad], which is
    ours, when the detector is tilted.

    Raises
    ------
    FormatError
        The file cannot be written, or exists.
    """
    if isinstance(target, h5py.Group):
        _write(target, qmap)
        return
    try:
        with h5py.File(target, "x") as file:
            _write(file.create_group("qmap"), qmap)
    except OSError as error:
        raise FormatError(f"{target}: cannot be written ({error}); give the path of a new file") from error


def _write(group: h5py.Group, qmap: QMap) -> None:
    group.attrs.update({"hash": qmap.hash, "version": _VERSION})
    for name in ("mask", "blemish"):
        _image(group, name, qmap.mask)
    units = [qmap.unit, "deg"]
    _bins(group, "dynamic", qmap.dynamic, _grid(qmap.q, qmap.phi), units)
    _bins(group, "static", qmap.static, _grid(qmap.static_q, qmap.static_phi), units)
    group["map_names"], group["map_units"] = ["q", "phi"], units
    group["beam_center_x"], group["beam_center_y"] = qmap.center
    if qmap.geometry is not None:
        group["pixel_size"] = qmap.geometry.pixel_size_m
        group["detector_distance"] = qmap.geometry.distance_m
        group["energy"] = qmap.geometry.energy_kev
        if any(qmap.geometry.rotations):
            group["detector_rotations"] = qmap.geometry.rotations


def _grid(q: NDArray[np.float64], phi: NDArray[np.float64] | None) -> tuple[NDArray[Any], ...]:
    """The values of q and phi there are, and each bin's number in the grid of both, phi the faster."""
    if phi is None:
        return q, np.zeros(1), np.arange(len(q))
    q_values, q_place = np.unique(q, return_inverse=True)
    phi_values, phi_place = np.unique(phi, return_inverse=True)
    return q_values, phi_values, q_place * len(phi_values) + phi_place


def _bins(
    group: h5py.Group,
    prefix: str,
    numbers: NDArray[np.int32],
    grid: tuple[NDArray[Any], ...],
    units: list[str],
) -> None:
    *values, mapping = grid
    _image(group, f"{prefix}_roi_map", _smallest(numbers))
    emptied = np.setdiff1d(np.arange(1, len(mapping) + 1), numbers)
    if len(emptied):
        group[f"{prefix}_roi_map"].attrs[EMPTIED] = emptied
    group[f"{prefix}_num_pts"] = [len(part) for part in values]
    group[f"{prefix}_index_mapping"] = _smallest(mapping)
    for dimension, (name, unit) in enumerate(zip(("q", "phi"), units, strict=True)):
        group[f"{prefix}_v_list_dim{dimension}"] = values[dimension]
        attributes = {"name": name, "unit": unit, "size": len(values[dimension])}
        group[f"{prefix}_v_list_dim{dimension}"].attrs.update(attributes)


def _image(group: h5py.Group, name: str, image: NDArray[Any]) -> None:
    group.create_dataset(name, data=image, compression="gzip", shuffle=True)


def _smallest(numbers: NDArray[Any]) -> NDArray[np.unsignedinteger]:
    """In the smallest unsigned type that holds them."""
    smallest: NDArray[np.unsignedinteger] = numbers.astype(np.min_scalar_type(int(numbers.max())))
    return smallest
