"""Q-maps as pySimpleMask writes them (HDF5)."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError, ReductionError
from apsdm_bluesky.reduction import QMap

_GROUP = "qmap"
# Pixels: larger than any detector, small enough to be read into memory.
_MAX_SIZE = 2**28
# Dataset: its number of dimensions and the kinds of its numbers.
_DATASETS = {
    "mask": (2, "biu"),
    "dynamic_roi_map": (2, "iu"),
    "static_roi_map": (2, "iu"),
    "dynamic_num_pts": (1, "iu"),
    "static_num_pts": (1, "iu"),
    "dynamic_index_mapping": (1, "iu"),
    "static_index_mapping": (1, "iu"),
    "dynamic_v_list_dim0": (1, "iuf"),
    "static_v_list_dim0": (1, "iuf"),
    "beam_center_x": (0, "iuf"),
    "beam_center_y": (0, "iuf"),
    "map_units": (1, "SO"),
}


def read_qmap(path: Path) -> QMap:
    """Read a q-map file: group `/qmap` with the layout of pySimpleMask.

    Bins are numbered as in the file's maps. Their q is the partition's first dimension, found through the
    index mapping (which leaves out bins that held no pixel). Bins that hold none now stay, empty.

    Raises
    ------
    FormatError
        The file cannot be read as HDF5, a dataset is missing or not what it should be, or the bins contradict
        each other.
    """
    try:
        with h5py.File(path, "r") as file:
            data = _read_datasets(path, file)
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:  # all h5py has for damage
        raise FormatError(
            f"{path}: cannot be read as HDF5 ({error}); give a q-map file of pySimpleMask"
        ) from error
    mask = data["mask"].astype(np.bool_)
    try:
        return QMap(
            dynamic=data["dynamic_roi_map"],
            static=data["static_roi_map"],
            mask=mask,
            q=_bin_values(path, data, "dynamic"),
            static_q=_bin_values(path, data, "static"),
            unit=_unit(path, data["map_units"]),
            center=(float(data["beam_center_x"]), float(data["beam_center_y"])),
        )
    except ReductionError as error:
        raise _error(path, "", f"cannot be used: {error}") from error


def _read_datasets(path: Path, file: Any) -> dict[str, NDArray[Any]]:
    group = file.get(_GROUP)
    if not isinstance(group, h5py.Group):
        raise FormatError(f"{path}: has no group /{_GROUP}; give a q-map file of pySimpleMask")
    missing = [name for name in _DATASETS if not isinstance(group.get(name), h5py.Dataset)]
    if missing:
        raise _error(path, "", f"lacks {', '.join(missing)}")
    return {name: _read(path, group[name], *what) for name, what in _DATASETS.items()}


def _read(path: Path, dataset: Any, ndim: int, kinds: str) -> NDArray[Any]:
    """The dataset's values, when it is of the right kind and no larger than a detector can be."""
    shape, dtype = dataset.shape, dataset.dtype
    if shape is None or len(shape) != ndim or dtype.kind not in kinds or dataset.size > _MAX_SIZE:
        raise _error(
            path, dataset.name, f"has shape {shape} and dtype {dtype}: need {ndim} dimensions, {kinds!r}"
        )
    return np.asarray(dataset[()])


def _bin_values(path: Path, data: dict[str, NDArray[Any]], prefix: str) -> NDArray[np.float64]:
    """The first dimension's value of each bin: bin i is number ``index_mapping[i - 1]`` of the full grid."""
    values, mapping = data[f"{prefix}_v_list_dim0"], data[f"{prefix}_index_mapping"].astype(np.int64)
    points = data[f"{prefix}_num_pts"].astype(np.int64)
    if points.shape != (2,) or points.min() < 1 or points[0] != len(values):
        problem = (
            f"is {points.tolist()}: need two numbers, the first {len(values)} as {prefix}_v_list_dim0 is long"
        )
        raise _error(path, f"{prefix}_num_pts", problem)
    if len(mapping) == 0 or mapping.min() < 0 or mapping.max() >= points.prod():
        raise _error(
            path, f"{prefix}_index_mapping", f"does not point into the grid of {points.tolist()} bins"
        )
    bin_values: NDArray[np.float64] = values[mapping // points[1]].astype(np.float64)
    return bin_values


def _unit(path: Path, units: NDArray[Any]) -> str:
    """Unit of the first dimension."""
    if len(units) == 0 or not isinstance(units[0], bytes):
        raise _error(path, "map_units", "holds no text")
    return units[0].decode("utf-8", "replace")


def _error(path: Path, dataset: str, problem: str) -> FormatError:
    where = f"/{_GROUP}/{dataset.rpartition('/')[2]}".rstrip("/")
    return FormatError(f"{path}: {where} {problem}; save the partition again with pySimpleMask")
