"""What an XPCS result file is made of."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.reduction import QMap

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a result comes from. What is not known keeps its default.

    Parameters
    ----------
    identifier
        What people call the measurement: its scan number, or the name of its file.
    raw_uid, result_uid
        Of the raw run and of the analysis run.
    scan_id
        The raw run's scan number.
    start_time, end_time
        Of the measurement, ISO 8601.
    frame_period_s, exposure_s, energy_kev
        Time between frames [s], exposure of a frame [s], photon energy [keV].
    metadata
        More about the measurement, as text.
    software, configuration
        Versions, and what the reduction was told.
    ledger
        What became of the frames.
    """

    identifier: str
    raw_uid: str = ""
    result_uid: str = ""
    scan_id: int | None = None
    start_time: str = ""
    end_time: str = ""
    frame_period_s: float = math.nan
    exposure_s: float = math.nan
    energy_kev: float = math.nan
    detector: str = ""
    sample: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    software: Mapping[str, str] = field(default_factory=dict)
    configuration: Mapping[str, Any] = field(default_factory=dict)
    ledger: Mapping[str, int | str] = field(default_factory=dict)

    @property
    def configuration_json(self) -> str:
        """The configuration as text, the same for the same content."""
        return json.dumps(dict(self.configuration), sort_keys=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TwoTimeMaps:
    """Two-time correlation of some dynamic bins.

    Parameters
    ----------
    bins
        Shape (nb,), ascending: numbers of the dynamic bins, from 1.
    c2
        Shape (nb, n, n), symmetric; NaN where it is not defined.
    width
        Frames of a row of `c2`.
    """

    bins: Integers
    c2: Floats
    width: int = 1

    def __post_init__(self) -> None:
        bins = _checked("two-time bins", self.bins, np.int64, (None,))
        c2 = _checked("two-time c2", self.c2, np.float64, (len(bins), None, None))
        if c2.shape[1] != c2.shape[2] or c2.shape[1] < 1:
            raise FormatError(f"two-time c2 has shape {c2.shape}: need one square a bin")
        if (np.diff(bins) <= 0).any() or (bins < 1).any():
            raise FormatError(f"two-time bins {bins.tolist()}: need numbers from 1, ascending")
        object.__setattr__(self, "bins", bins)
        object.__setattr__(self, "c2", c2)

    def g2(self, parts: int = 1) -> Floats:
        """Means of the diagonals, the main one first, of `parts` equal squares along the main diagonal.

        Shape (n // parts, parts, nb). NaN where a diagonal has no value.
        """
        size = self.c2.shape[1] // parts
        means = np.empty((size, parts, len(self.bins)))
        for part in range(parts):
            rows = slice(part * size, (part + 1) * size)
            means[:, part] = _diagonal_means(self.c2[:, rows, rows]).T
        return means


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class XpcsRecord:
    """The results of one series, as plain arrays. Undefined values are NaN.

    Parameters
    ----------
    provenance
        Where the result comes from.
    qmap
        The pixels that counted, in their bins.
    center_known
        False where the beam centre of `qmap` means nothing.
    frames
        Number of frames reduced.
    delays, levels, pairs
        Shape (nt,): delays [frames], their levels in the multi-tau scheme, and their pairs of frames.
    g2, g2_err
        Shape (nt, nq).
    g2_segments, g2_segment_first
        Shape (k, nt, nq), and k numbers: g2 of time segments, and the index of each one's first frame.
    saxs
        Shape (ns,): mean intensity of the static bins [counts / pixel / frame].
    saxs_segments
        Shape (k, ns): parts of it in time, which add up to `saxs`. None: one, the whole.
    sum_image
        Shape (ny, nx): counts of all frames.
    frame_index, total
        Shape (n,): each reduced frame's index and its counts over the good pixels.
    result_sha256
        Hash of the result.
    fit
        Results of fits by name: numbers, arrays or texts.
    two_time
        None where it was not computed.

    Raises
    ------
    FormatError
        The arrays do not fit each other or the q-map.
    """

    provenance: Provenance
    qmap: QMap
    center_known: bool = True
    frames: int
    delays: Integers
    levels: Integers
    pairs: Integers
    g2: Floats
    g2_err: Floats
    g2_segments: Floats | None = None
    g2_segment_first: Sequence[int] = ()
    saxs: Floats
    saxs_segments: Floats | None = None
    sum_image: Integers
    frame_index: Integers
    total: Integers
    result_sha256: str
    fit: Mapping[str, Any] = field(default_factory=dict)
    two_time: TwoTimeMaps | None = None

    def __post_init__(self) -> None:
        nt, n = np.size(self.delays), np.size(self.frame_index)
        nq, ns = len(self.qmap.q), len(self.qmap.static_q)
        shapes: dict[str, tuple[type, tuple[int | None, ...]]] = {
            **dict.fromkeys(("delays", "levels", "pairs"), (np.int64, (nt,))),
            **dict.fromkeys(("g2", "g2_err"), (np.float64, (nt, nq))),
            "saxs": (np.float64, (ns,)),
            "sum_image": (np.int64, self.qmap.shape),
            **dict.fromkeys(("frame_index", "total"), (np.int64, (n,))),
        }
        if self.saxs_segments is not None:
            shapes["saxs_segments"] = (np.float64, (None, ns))
        if self.g2_segments is not None:
            first = _checked("g2_segment_first", self.g2_segment_first, np.int64, (None,)).tolist()
            shapes["g2_segments"] = (np.float64, (len(first), nt, nq))
            object.__setattr__(self, "g2_segment_first", tuple(first))
        for name, (dtype, shape) in shapes.items():
            object.__setattr__(self, name, _checked(name, getattr(self, name), dtype, shape))
        if self.two_time is not None and self.two_time.bins.max(initial=0) > nq:
            raise FormatError(f"two-time: bin {self.two_time.bins.max()} of {nq}: need bins of the q-map")


def _diagonal_means(c2: Floats) -> Floats:
    """Of (nb, n, n) the means along diagonals 0 to n - 1, shape (nb, n); NaN are left out."""
    nb, n, _ = c2.shape
    sums, numbers = np.zeros((nb, n)), np.zeros((nb, n))
    for row in range(n):
        values = c2[:, row, row:]
        known = np.isfinite(values)
        sums[:, : n - row] += np.where(known, values, 0)
        numbers[:, : n - row] += known
    means: Floats = np.full((nb, n), np.nan)
    np.divide(sums, numbers, out=means, where=numbers > 0)
    return means


def _checked(name: str, value: Any, dtype: type, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """The values as numbers of this kind; None in the shape is any length."""
    try:
        array = np.asarray(value)
    except ValueError as error:  # nested sequences of different lengths
        raise FormatError(f"{name} is no array ({error}); reduce the series again") from error
    kinds = "iu" if dtype is np.int64 else "iuf"
    fits = array.ndim == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in kinds:
        need = ", ".join("any" if length is None else str(length) for length in shape)
        raise FormatError(
            f"{name} has shape {array.shape} and dtype {array.dtype}: need ({need}) of "
            f"{np.dtype(dtype).name}; reduce the series again"
        )
    return array.astype(dtype)
