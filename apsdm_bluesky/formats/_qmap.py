"""Q-maps as pySimpleMask writes them (HDF5)."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError, ReductionError
from apsdm_bluesky.reduction import Geometry, QMap

# Of a q-map file, and of a result file that has a copy of it.
_GROUPS = ("qmap", "xpcs/qmap")
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
_PLACE = {"pixel_size": (0, "iuf"), "detector_distance": (0, "iuf"), "energy": (0, "iuf")}
# Older files have not all of these; the last one is ours.
_OPTIONAL = {
    "blemish": (2, "biu"),
    "map_names": (1, "SO"),
    "dynamic_v_list_dim1": (1, "iuf"),
    "static_v_list_dim1": (1, "iuf"),
    **_PLACE,
    "detector_rotations": (1, "iuf"),
}
# Attribute of a map of bins: the numbers of those whose pixels are all masked, which the map does not show.
EMPTIED = "emptied"

_Data = dict[str, NDArray[Any]]


def read_qmap(path: Path) -> QMap:
    """Read a q-map file: group `/qmap` with the layout of pySimpleMask, or `/xpcs/qmap` of a result file.

    Bins are numbered as in the file's maps. Their q and phi are the partition's dimensions, found through the
    index mapping (which leaves out bins that held no pixel). `mask` and `blemish` are both applied; bins that
    hold no pixel then stay, empty. phi is None where the partition has one sector, the geometry where the
    file does not tell it.

    Raises
    ------
    FormatError
        The file cannot be read as HDF5, a dataset is missing or not what it should be, or the bins contradict
        each other: a shape differs, a static bin lies in two dynamic ones, a bin is nowhere on the map.
    """
    try:
        with h5py.File(path, "r") as file:
            data = _read_datasets(path, file)
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:  # all h5py has for damage
        raise FormatError(
            f"{path}: cannot be read as HDF5 ({error}); give a q-map file of pySimpleMask"
        ) from error
    with_phi = _has_phi(path, data)
    try:
        return QMap(
            dynamic=data["dynamic_roi_map"],
            static=data["static_roi_map"],
            mask=_mask(path, data),
            q=_bin_values(path, data, "dynamic", 0),
            static_q=_bin_values(path, data, "static", 0),
            unit=_unit(path, data["map_units"]),
            center=_center(data),
            geometry=_geometry(path, data),
            phi=_bin_values(path, data, "dynamic", 1) if with_phi else None,
            static_phi=_bin_values(path, data, "static", 1) if with_phi else None,
        )
    except ReductionError as error:
        raise _error(path, "", f"cannot be used: {error}") from error


def _read_datasets(path: Path, file: Any) -> _Data:
    groups = [file[name] for name in _GROUPS if isinstance(file.get(name), h5py.Group)]
    if not groups:
        raise FormatError(f"{path}: has no group /{_GROUPS[0]}; give a q-map file of pySimpleMask")
    group = groups[0]
    missing = [name for name in _DATASETS if not isinstance(group.get(name), h5py.Dataset)]
    if missing:
        raise _error(path, "", f"lacks {', '.join(missing)}")
    wanted = _DATASETS | {name: what for name, what in _OPTIONAL.items() if name in group}
    data = {name: read_dataset(path, group[name], *what) for name, what in wanted.items()}
    for prefix in ("dynamic", "static"):
        emptied = np.asarray(group[f"{prefix}_roi_map"].attrs.get(EMPTIED, []))
        _check_bins_exist(path, prefix, data, emptied)
    return data


def read_dataset(path: Path, dataset: Any, ndim: int, kinds: str) -> NDArray[Any]:
    """The dataset's values, when it is of the right kind and no larger than a detector can be."""
    if not isinstance(dataset, h5py.Dataset):
        raise _error(path, dataset.name, "is no dataset")
    shape, dtype = dataset.shape, dataset.dtype
    if shape is None or len(shape) != ndim or dtype.kind not in kinds or dataset.size > _MAX_SIZE:
        raise _error(
            path, dataset.name, f"has shape {shape} and dtype {dtype}: need {ndim} dimensions, {kinds!r}"
        )
    return np.asarray(dataset[()])


def _check_bins_exist(path: Path, prefix: str, data: _Data, emptied: NDArray[Any]) -> None:
    """Every bin of the index mapping has pixels in the map, masked or not, or is told to have lost them."""
    bins = np.arange(1, len(data[f"{prefix}_index_mapping"]) + 1)
    known = np.concatenate([np.unique(data[f"{prefix}_roi_map"]), emptied])
    lost = bins[~np.isin(bins, known)]
    if len(lost):
        numbers = ", ".join(map(str, lost[:10])) + (", ..." if len(lost) > 10 else "")
        raise _error(path, f"{prefix}_roi_map", f"has no pixel in bin {numbers} of {len(bins)}")


def _mask(path: Path, data: _Data) -> NDArray[np.bool_]:
    mask = data["mask"].astype(np.bool_)
    blemish = data.get("blemish", mask)
    if blemish.shape != mask.shape:
        raise _error(path, "blemish", f"has shape {blemish.shape}, the mask {mask.shape}")
    return np.logical_and(mask, blemish)


def _has_phi(path: Path, data: _Data) -> bool:
    """Whether the bins are split in azimuth."""
    names = [_text(path, name, "map_names") for name in data.get("map_names", ["q", "phi"])]
    split = any(np.any(data[f"{prefix}_num_pts"][1:] > 1) for prefix in ("dynamic", "static"))
    if not split or names[1:2] != ["phi"]:
        return False
    missing = [name for name in ("dynamic_v_list_dim1", "static_v_list_dim1") if name not in data]
    if missing:
        raise _error(path, "", f"lacks {', '.join(missing)}")
    return True


def _bin_values(path: Path, data: _Data, prefix: str, dimension: int) -> NDArray[np.float64]:
    """A dimension's value of each bin: bin i is number ``index_mapping[i - 1]`` of the grid, row-major."""
    name = f"{prefix}_v_list_dim{dimension}"
    values, mapping = data[name], data[f"{prefix}_index_mapping"].astype(np.int64)
    points = data[f"{prefix}_num_pts"].astype(np.int64)
    if points.shape != (2,) or points.min() < 1 or points[dimension] != len(values):
        problem = f"is {points.tolist()}: need two numbers, of which {name} has the length {len(values)}"
        raise _error(path, f"{prefix}_num_pts", problem)
    if len(mapping) == 0 or mapping.min() < 0 or mapping.max() >= points.prod():
        raise _error(
            path, f"{prefix}_index_mapping", f"does not point into the grid of {points.tolist()} bins"
        )
    place = np.divmod(mapping, points[1])[dimension]
    bin_values: NDArray[np.float64] = values[place].astype(np.float64)
    return bin_values


def _center(data: _Data) -> tuple[float, float]:
    return float(data["beam_center_x"]), float(data["beam_center_y"])


def _geometry(path: Path, data: _Data) -> Geometry | None:
    known = [name for name in _PLACE if name in data and not np.isnan(data[name])]  # NaN: result files
    if not known:
        return None
    if len(known) < len(_PLACE):
        raise _error(path, "", f"has {', '.join(known)} but lacks {', '.join(_PLACE.keys() - known)}")
    pixel_size, distance, energy = (float(data[name]) for name in _PLACE)
    return Geometry(
        center=_center(data),
        distance_m=distance,
        energy_kev=energy,
        pixel_size_m=pixel_size,
        rotations=tuple(data.get("detector_rotations", np.zeros(3))),
    )


def _unit(path: Path, units: NDArray[Any]) -> str:
    """Unit of the first dimension."""
    if len(units) == 0:
        raise _error(path, "map_units", "holds no text")
    return _text(path, units[0], "map_units")


def _text(path: Path, value: Any, dataset: str) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value
    raise _error(path, dataset, "holds no text")


def _error(path: Path, dataset: str, problem: str) -> FormatError:
    where = f"/{_GROUPS[0]}/{dataset.rpartition('/')[2]}".rstrip("/")
    return FormatError(f"{path}: {where} {problem}; save the partition again with pySimpleMask")
