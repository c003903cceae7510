"""Results in the layout of boost-corr and pyXpcsViewer (HDF5), whoever wrote them."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.reduction import QMap

from ._qmap import read_qmap

# What h5py raises on damaged files.
_DAMAGE = (OSError, RuntimeError, ValueError, TypeError, KeyError, OverflowError)
_MAP = re.compile(r"c2_\d+")
_MAX_BYTES = 8 * 2**30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class XpcsArrays:
    """What a result file holds of a result; what it does not hold is None.

    Parameters
    ----------
    qmap
        The file's own copy.
    raw_uid
        The raw run's, where the file tells it; else ''.
    delays, g2, g2_err
        Shape (nt,) [frames], (nt, nq), (nt, nq).
    saxs
        Shape (ns,): mean intensity of the static bins [counts / pixel / frame].
    frame_index, intensity
        Shape (n,): each frame's index, and its intensity as the program tells it.
    bins, c2
        Shape (nb,), (nb, n, n): dynamic bins with a two-time map, from 1, and the maps, symmetric.
    configuration
        What the program noted of its options: numbers and texts by name.
    """

    qmap: QMap
    raw_uid: str = ""
    delays: NDArray[np.int64] | None = None
    g2: NDArray[np.float64] | None = None
    g2_err: NDArray[np.float64] | None = None
    saxs: NDArray[np.float64]
    frame_index: NDArray[np.int64]
    intensity: NDArray[np.float64]
    bins: NDArray[np.int64] | None = None
    c2: NDArray[np.float32] | None = None
    configuration: dict[str, Any] = field(default_factory=dict)


def read_xpcs(path: Path) -> XpcsArrays:
    """Read a result file.

    Raises
    ------
    FormatError
        It is no HDF5 file, holds neither g2 nor two-time maps, or arrays that do not fit its q-map.
    """
    qmap = read_qmap(path)
    try:
        with h5py.File(path, "r") as file:
            parts = _multitau(file, path, qmap) | _two_time(file, path, qmap)
            if not parts:
                raise FormatError(f"{path}: has neither /xpcs/multitau nor /xpcs/twotime; give a result file")
            intensity = _array(file, path, "xpcs/spatial_mean/intensity_vs_time", (2, None))
            saxs = _array(file, path, "xpcs/temporal_mean/scattering_1d", (None, len(qmap.static_q)))
            return XpcsArrays(
                qmap=qmap,
                raw_uid=_text(file, "entry/instrument/bluesky/metadata/raw_uid"),
                saxs=saxs[0].astype(np.float64),
                frame_index=intensity[0].astype(np.int64),
                intensity=intensity[1].astype(np.float64),
                configuration=_configuration(file),
                **parts,
            )
    except _DAMAGE as error:
        raise FormatError(f"{path}: cannot be read as a result ({error}); give an intact file") from error


def _multitau(file: h5py.File, path: Path, qmap: QMap) -> dict[str, Any]:
    if "xpcs/multitau/normalized_g2" not in file:
        return {}
    delays = np.ravel(_array(file, path, "xpcs/multitau/delay_list", None)).astype(np.int64)
    shape = (len(delays), len(qmap.q))
    frames = [_number(file, f"xpcs/multitau/config/{name}") for name in ("avg_frame", "stride_frame")]
    return {
        "delays": delays * frames[0] * frames[1],
        "g2": _array(file, path, "xpcs/multitau/normalized_g2", shape).astype(np.float64),
        "g2_err": _array(file, path, "xpcs/multitau/normalized_g2_err", shape).astype(np.float64),
    }


def _two_time(file: h5py.File, path: Path, qmap: QMap) -> dict[str, Any]:
    if "xpcs/twotime/correlation_map" not in file:
        return {}
    bins = np.ravel(_array(file, path, "xpcs/twotime/processed_bins", None)).astype(np.int64)
    names = sorted(name for name in file["xpcs/twotime/correlation_map"] if _MAP.fullmatch(name))
    if len(names) != len(bins) or not len(bins) or bins.min() < 1 or bins.max() > len(qmap.q):
        raise FormatError(f"{path}: has {len(names)} two-time maps of bins {bins.tolist()}; that cannot be")
    maps = [_array(file, path, f"xpcs/twotime/correlation_map/{name}", (None, None)) for name in names]
    upper = np.triu(np.stack(maps).astype(np.float32))
    return {"bins": bins, "c2": upper + np.triu(upper, 1).swapaxes(1, 2)}


def _array(file: h5py.File, path: Path, name: str, shape: tuple[int | None, ...] | None) -> NDArray[Any]:
    """An array of numbers of this shape; None in it is any length."""
    data = file.get(name)
    if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "iuf" or data.nbytes > _MAX_BYTES:
        raise FormatError(f"{path}: /{name} is no array of numbers; give a result file")
    fits = shape is None or (
        data.ndim == len(shape)
        and all(want in (None, have) for want, have in zip(shape, data.shape, strict=True))
    )
    if not fits:
        raise FormatError(f"{path}: /{name} has shape {data.shape}, which does not fit its q-map")
    array: NDArray[Any] = data[()]
    return array


def _number(file: h5py.File, name: str) -> int:
    return int(file[name][()]) if name in file else 1


def _text(file: h5py.File, name: str) -> str:
    return str(file[name].asstr()[()]) if name in file else ""


def _configuration(file: h5py.File) -> dict[str, Any]:
    """The single values of the programs' `config` groups."""
    found: dict[str, Any] = {}
    for group in ("xpcs/multitau/config", "xpcs/twotime/config"):
        for name, data in file.get(group, {}).items():
            if isinstance(data, h5py.Dataset) and data.shape == ():
                value = data[()]
                found[name] = value.decode(errors="replace") if isinstance(value, bytes) else value.item()
    return found
