"""Which pixels belong to which q bin."""

import hashlib
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apsdm_bluesky.errors import ReductionError

from ._geometry import Q_UNIT, Center, Geometry, check_center
from ._partition import Bins, Spacing, Splits, outer_radius, ring_edges, sort_pixels


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
    geometry
        Where the detector is, if that is known; its centre is `center`.
    phi, static_phi
        Shape (nq,) and (ns,): azimuth of the dynamic and static bins [degree], as `Geometry.azimuth` has it.
        None where the bins are not split in azimuth.

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
    geometry: Geometry | None = None
    phi: NDArray[np.float64] | None = None
    static_phi: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        check_center(self.center)
        object.__setattr__(self, "center", (float(self.center[0]), float(self.center[1])))
        if self.geometry is not None and self.geometry.center != self.center:
            raise ReductionError(
                f"beam centre {self.center}, but {self.geometry.center} in the geometry: give one"
            )
        mask = _boolean(self.mask, np.shape(self.mask), "the mask")
        fields: dict[str, NDArray[Any]] = {
            "mask": mask.copy(),
            "q": np.array(self.q, np.float64, ndmin=1),
            "static_q": np.array(self.static_q, np.float64, ndmin=1),
            "dynamic": _bins(self.dynamic, mask, np.size(self.q), "dynamic"),
            "static": _bins(self.static, mask, np.size(self.static_q), "static"),
        }
        if (self.phi is None) != (self.static_phi is None):
            raise ReductionError("phi is given for dynamic or static bins only: give both, or none")
        if self.phi is not None and self.static_phi is not None:
            fields["phi"] = _angles(self.phi, np.size(self.q), "phi")
            fields["static_phi"] = _angles(self.static_phi, np.size(self.static_q), "static_phi")
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
        check_center(center)
        splits = Splits(dynamic_bins, static_per_dynamic)
        y, x = np.indices(shape)
        radius = np.hypot(x - center[0], y - center[1])
        outer = outer_radius(shape, center) if r_max is None else r_max
        inner = max(outer / 8, radius.min()) if r_min is None else r_min
        edges = ring_edges(inner, outer, splits, "linear", "px")
        return cls._of_bins(sort_pixels(radius, edges, None, splits), mask, "px", center, None)

    @classmethod
    def partition(
        cls,
        shape: tuple[int, int],
        geometry: Geometry,
        *,
        dynamic_bins: int = 8,
        static_per_dynamic: int = 3,
        phi_bins: int = 1,
        static_phi_per_dynamic: int = 1,
        q_min: float | None = None,
        q_max: float | None = None,
        r_min: float | None = None,
        r_max: float | None = None,
        spacing: Spacing = "linear",
        mask: NDArray[np.bool_] | None = None,
    ) -> "QMap":
        """Contiguous rings in q [1/angstrom], split into equal sectors in azimuth; static in dynamic ones.

        Bins are numbered as pySimpleMask does, q major and phi minor, but all keep their number: one that
        holds no pixel is NaN in the results. A ring has one q in all its sectors: the mean over the pixels
        of a static ring (masked ones included), the mean over its static rings for a dynamic one. Sectors
        begin at -180 degrees and their phi is in their middle; `phi` is None without a split in azimuth.

        Parameters
        ----------
        shape
            (ny, nx) of the detector.
        dynamic_bins, static_per_dynamic
            Rings in which g2 is reported, and rings in each of them in which intensities are averaged.
        phi_bins, static_phi_per_dynamic
            Sectors of a dynamic ring, and static sectors in each of them.
        q_min, q_max
            [1/angstrom]. Default: an eighth of `q_max`, at least the lowest q there is; and the largest full
            circle on the detector, or the farthest corner, as in `rings`.
        r_min, r_max
            The same as radii about the beam [px], on a detector normal to it at `geometry.distance_m`.
        spacing
            Edges of the rings: "linear" or "log".

        Raises
        ------
        ReductionError
            No bins can be made of these numbers, a limit is given twice, or no good pixel lies in a bin.
        """
        splits = Splits(dynamic_bins, static_per_dynamic, phi_bins, static_phi_per_dynamic)
        q = geometry.q(shape)
        low, high = _limit("min", q_min, r_min, geometry), _limit("max", q_max, r_max, geometry)
        outer = geometry.q_at_radius(outer_radius(shape, geometry.center)) if high is None else high
        inner = max(outer / 8, q.min()) if low is None else low
        edges = ring_edges(inner, outer, splits, spacing, "1/angstrom")
        azimuth = geometry.azimuth(shape) if phi_bins * static_phi_per_dynamic > 1 else None
        bins = sort_pixels(q, edges, azimuth, splits)
        return cls._of_bins(bins, mask, Q_UNIT, geometry.center, geometry)

    @classmethod
    def _of_bins(
        cls,
        bins: Bins,
        mask: NDArray[np.bool_] | None,
        unit: str,
        center: Center,
        geometry: Geometry | None,
    ) -> "QMap":
        shape = bins.dynamic.shape
        good = np.ones(shape, bool) if mask is None else _boolean(mask, shape, "the mask")
        return cls(**bins._asdict(), mask=good, unit=unit, center=center, geometry=geometry)

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
        if self.geometry is not None:
            digest.update(repr(astuple(self.geometry)).encode())
        if self.phi is not None and self.static_phi is not None:
            digest.update(np.concatenate([self.phi, self.static_phi]).astype("<f8").tobytes())
        return digest.hexdigest()


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


def _limit(name: str, q: float | None, radius: float | None, geometry: Geometry) -> float | None:
    """A limit in q, given as such or as a radius."""
    if q is not None and radius is not None:
        raise ReductionError(f"give q_{name} or r_{name}, not both")
    return q if radius is None else geometry.q_at_radius(radius)


def _angles(angles: ArrayLike, number: int, name: str) -> NDArray[np.float64]:
    array = np.array(angles, np.float64, ndmin=1)
    if array.shape != (number,):
        raise ReductionError(f"{name} has shape {array.shape}: need one angle a bin, ({number},)")
    return array
