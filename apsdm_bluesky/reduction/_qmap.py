"""Which pixels belong to which q bin."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apsdm_bluesky.errors import ReductionError

Center = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QMap:
    """Dynamic bins, in which g2 is reported, made of static bins, in which intensities are averaged.

    Bins are numbered from 1; 0 marks a pixel that is not used. A bin may hold no pixel (all masked): it keeps
    its number and its q, and its results are NaN. The arrays are copied and made read-only.

    Parameters
    ----------
    dynamic, static
        Shape (ny, nx), int32. Set to 0 at masked pixels.
    mask
        Shape (ny, nx); True is a good pixel.
    q, static_q
        Shape (nq,) and (ns,), in `unit`: of dynamic bins 1..nq and static bins 1..ns.
    unit
        Unit of q; "px" where the geometry is not known.
    center
        Beam centre (x, y) = (column, row) [px]; whole numbers are pixel centres.

    Raises
    ------
    ReductionError
        The arrays do not fit each other, a static bin lies in two dynamic bins, or no pixel is used.
    """

    dynamic: NDArray[np.int32]
    static: NDArray[np.int32]
    mask: NDArray[np.bool_]
    q: NDArray[np.float64]
    static_q: NDArray[np.float64]
    unit: str
    center: Center

    def __post_init__(self) -> None:
        _check_center(self.center)
        object.__setattr__(self, "center", (float(self.center[0]), float(self.center[1])))
        mask = _boolean(self.mask, np.shape(self.mask), "the mask")
        fields: dict[str, NDArray[Any]] = {
            "mask": mask.copy(),
            "q": np.array(self.q, np.float64, ndmin=1),
            "static_q": np.array(self.static_q, np.float64, ndmin=1),
            "dynamic": _bins(self.dynamic, mask, np.size(self.q), "dynamic"),
            "static": _bins(self.static, mask, np.size(self.static_q), "static"),
        }
        for name, array in fields.items():
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        _check_nesting(self.dynamic, self.static)

    @classmethod
    def rings(
        cls,
        shape: tuple[int, int],
        center: Center,
        *,
        dynamic_bins: int = 8,
        static_per_dynamic: int = 3,
        r_min: float | None = None,
        r_max: float | None = None,
        mask: NDArray[np.bool_] | None = None,
    ) -> "QMap":
        """Contiguous rings of equal width about the beam centre, q in pixels.

        A static ring's q is the mean radius of its pixels (masked ones included), a dynamic ring's the mean
        of its static rings: as g2 is the unweighted mean over static bins.

        Parameters
        ----------
        shape
            (ny, nx) of the detector.
        center
            Beam centre (x, y) = (column, row) [px].
        r_min
            Inner radius [px]. Default: an eighth of `r_max`, at least the distance of the nearest pixel.
        r_max
            Outer radius [px]. Default: the largest full circle on the detector; if that is less than an
            eighth of its shorter side, the farthest corner.

        Raises
        ------
        ReductionError
            No ring can be made of these numbers, or no good pixel lies in one.
        """
        if dynamic_bins < 1 or static_per_dynamic < 1:
            raise ReductionError(f"{dynamic_bins} rings of {static_per_dynamic}: each must be 1 or more")
        _check_center(center)
        y, x = np.indices(shape)
        radius = np.hypot(x - center[0], y - center[1])
        outer = _outer_radius(shape, center) if r_max is None else r_max
        inner = max(outer / 8, radius.min()) if r_min is None else r_min
        if not 0 <= inner < outer < np.inf:
            raise ReductionError(f"rings from r_min={inner:g} to r_max={outer:g} px: need 0 <= r_min < r_max")
        edges = np.linspace(inner, outer, dynamic_bins * static_per_dynamic + 1)
        static = np.digitize(radius, edges)
        static[static == len(edges)] = 0
        dynamic = -(-static // static_per_dynamic)
        static_q = _mean_radius(radius, static, edges)
        return cls(
            dynamic=dynamic.astype(np.int32),
            static=static.astype(np.int32),
            mask=np.ones(shape, bool) if mask is None else _boolean(mask, shape, "the mask"),
            q=static_q.reshape(dynamic_bins, static_per_dynamic).mean(axis=1),
            static_q=static_q,
            unit="px",
            center=center,
        )

    def without(self, bad: NDArray[np.bool_]) -> "QMap":
        """Return the map without the pixels where `bad` (ny, nx) is True. Bins keep their numbers and q."""
        return replace(self, mask=self.mask & ~_boolean(bad, self.shape, "the map of bad pixels"))

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of the detector."""
        ny, nx = self.mask.shape
        return ny, nx

    @property
    def pixels(self) -> NDArray[np.int64]:
        """Row-major indices of the used pixels, ascending; shape (npix,)."""
        return np.flatnonzero(self.dynamic).astype(np.int64)

    @property
    def parents(self) -> NDArray[np.int64]:
        """Shape (ns,): the dynamic bin of each static bin, 0 where the static bin holds no pixel."""
        parents = np.zeros(len(self.static_q) + 1, np.int64)
        parents[self.static.ravel()] = self.dynamic.ravel()
        return parents[1:]

    @property
    def hash(self) -> str:
        """sha256 of the content, hexadecimal; the same on every machine."""
        digest = hashlib.sha256(repr((self.shape, self.unit, self.center)).encode())
        for array, dtype in (
            (self.dynamic, "<i4"),
            (self.static, "<i4"),
            (self.mask, "?"),
            (self.q, "<f8"),
            (self.static_q, "<f8"),
        ):
            digest.update(np.ascontiguousarray(array, dtype).tobytes())
        return digest.hexdigest()


def _check_center(center: Center) -> None:
    if not np.isfinite(center).all():
        raise ReductionError(f"beam centre {center}: give two finite numbers, (column, row) in pixels")


def _boolean(array: ArrayLike, shape: tuple[int, ...], name: str) -> NDArray[np.bool_]:
    values: NDArray[Any] = np.asarray(array)
    if values.dtype != np.bool_ or values.shape != tuple(shape) or values.ndim != 2:
        raise ReductionError(
            f"{name} has shape {values.shape} and dtype {values.dtype}: need bool, shape {tuple(shape)}"
        )
    return values


def _bins(numbers: NDArray[Any], mask: NDArray[np.bool_], count: int, name: str) -> NDArray[np.int32]:
    """The bin numbers with 0 at masked pixels, checked against the number of q values."""
    if numbers.shape != mask.shape or numbers.dtype.kind not in "iu":
        raise ReductionError(
            f"{name} map has shape {numbers.shape} and dtype {numbers.dtype}: need integers, {mask.shape}"
        )
    if numbers.min(initial=0) < 0 or numbers.max(initial=0) > count:
        raise ReductionError(
            f"{name} map holds bins {numbers.min()} to {numbers.max()}, but there are {count} q values"
        )
    return np.where(mask, numbers, 0).astype(np.int32)


def _check_nesting(dynamic: NDArray[np.int32], static: NDArray[np.int32]) -> None:
    """Every used pixel lies in a static and a dynamic bin, every static bin in one dynamic bin."""
    used = dynamic > 0
    if not used.any():
        raise ReductionError("the q-map uses no pixel: every one is masked or outside the bins")
    lone = np.argwhere(used != (static > 0))
    if len(lone):
        y, x = lone[0]
        raise ReductionError(
            f"pixel (x={x}, y={y}) lies in a dynamic or a static bin only: it needs both, or none"
        )
    nested = np.unique(np.stack([static[used], dynamic[used]]), axis=1)
    twice = np.flatnonzero(nested[0, 1:] == nested[0, :-1])
    if len(twice):
        number = nested[0, twice[0]]
        inside = ", ".join(str(parent) for parent in nested[1, nested[0] == number])
        raise ReductionError(f"static bin {number} lies in dynamic bins {inside}: it must lie in one")


def _outer_radius(shape: tuple[int, int], center: Center) -> float:
    """The largest full circle about the centre, or the farthest corner where that is tiny."""
    (ny, nx), (x, y) = shape, center
    circle = min(x + 0.5, nx - 0.5 - x, y + 0.5, ny - 0.5 - y)
    if circle >= min(shape) / 8:
        return circle
    return float(np.hypot(max(x + 0.5, nx - 0.5 - x), max(y + 0.5, ny - 0.5 - y)))


def _mean_radius(
    radius: NDArray[np.float64], rings: NDArray[np.int64], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean radius of each ring's pixels; the middle of a ring without any."""
    count = np.bincount(rings.ravel(), minlength=len(edges))[1:]
    total = np.bincount(rings.ravel(), radius.ravel(), minlength=len(edges))[1:]
    return np.where(count > 0, total / np.maximum(count, 1), (edges[1:] + edges[:-1]) / 2)
