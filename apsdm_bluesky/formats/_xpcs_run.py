"""Result records of what a reduction returned, and of the documents of an analysis run."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError, ReductionError
from apsdm_bluesky.reduction import DecayFit, Geometry, QMap, SeriesResult

from ._xpcs_record import Provenance, TwoTimeMaps, XpcsRecord

Stream = Mapping[str, Any]
Document = Mapping[str, Any]

_FIT = tuple(item.name for item in fields(DecayFit) if item.name != "q")
_LABELS = ("proposal", "esaf", "experiment", "purpose")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRun:
    """What a result file repeats of the raw run.

    Parameters
    ----------
    start, stop
        Its documents; `stop` is empty where it has none.
    configuration
        Of its primary stream: values by key.
    """

    start: Document
    stop: Document = field(default_factory=dict)
    configuration: Mapping[str, Any] = field(default_factory=dict)


def series_record(result: SeriesResult, provenance: Provenance) -> XpcsRecord:
    """The record of a reduction's result."""
    multitau, segments, maps = result.multitau, result.multitau.segments, result.two_time
    return XpcsRecord(
        provenance=provenance,
        qmap=result.qmap,
        frames=multitau.frames,
        delays=multitau.delays,
        levels=multitau.levels,
        pairs=multitau.pairs,
        g2=multitau.g2,
        g2_err=multitau.g2_err,
        g2_segments=None if segments is None else segments.g2,
        g2_segment_first=() if segments is None else segments.first.tolist(),
        saxs=result.saxs.intensity,
        saxs_segments=_shares(result.saxs.segments, result.saxs.segment_frames),
        sum_image=result.saxs.sum_image,
        frame_index=result.stats.indices,
        total=result.stats.total,
        result_sha256=result.sha256,
        fit={name: getattr(result.decays, name) for name in _FIT},
        two_time=None if maps is None else TwoTimeMaps(bins=maps.bins, c2=maps.c2, width=maps.width),
    )


def run_record(start: Document, streams: Mapping[str, Stream], raw: RawRun | None = None) -> XpcsRecord:
    """The record of an analysis run.

    Parameters
    ----------
    start
        The analysis run's start document.
    streams
        The data of the one event of the streams `primary` and `qmap`, and of `ledger` and `two_time` where
        they are there.
    raw
        None where the raw run is not at hand: times and exposure are unknown then.

    Raises
    ------
    FormatError
        A key is missing or not what it should be.
    """
    primary = _Data("primary", streams)
    qmap, center_known = _qmap(_Data("qmap", streams), start)
    return XpcsRecord(
        provenance=provenance_of(start, raw, streams.get("ledger", {})),
        qmap=qmap,
        center_known=center_known,
        frames=_whole("frames", primary["frames"]),
        result_sha256=str(primary["result_sha256"]),
        fit={name: primary[name] for name in _FIT if name in primary},
        g2_segments=primary.get("g2_segments"),
        g2_segment_first=primary.get("g2_segment_first", ()),
        saxs_segments=_saxs_segments(primary),
        two_time=_two_time(_Data("two_time", streams)) if "two_time" in streams else None,
        **{
            key: primary[key]
            for key in (
                "delays",
                "levels",
                "pairs",
                "g2",
                "g2_err",
                "saxs",
                "sum_image",
                "frame_index",
                "total",
            )
        },
    )


def _shares(segments: Any, frames: Any) -> NDArray[np.float64]:
    """Of means (k, ns) over segments of so many frames (k,): their parts of the mean over all."""
    shares: NDArray[np.float64] = segments * (frames / max(np.sum(frames), 1))[:, np.newaxis]
    return shares


class _Data:
    """One event's data, whose lack is told."""

    def __init__(self, name: str, streams: Mapping[str, Stream]) -> None:
        if name not in streams:
            raise FormatError(f"there is no stream {name!r}; a result needs it: reduce the raw run again")
        self._name = name
        self._stream = streams[name]

    def __getitem__(self, key: str) -> Any:
        if key not in self._stream:
            raise FormatError(f"stream {self._name!r} lacks {key!r}; reduce the raw run again")
        return self._stream[key]

    def __contains__(self, key: str) -> bool:
        return key in self._stream

    def get(self, key: str, default: Any = None) -> Any:
        return self._stream.get(key, default)


def _saxs_segments(primary: _Data) -> NDArray[np.float64] | None:
    if "saxs_segments" not in primary:
        return None
    segments, frames = np.asarray(primary["saxs_segments"]), np.asarray(primary["saxs_segment_frames"])
    if segments.ndim != 2 or frames.shape != segments.shape[:1] or frames.dtype.kind not in "iu":
        raise FormatError(
            f"saxs_segments {segments.shape} of {frames.shape} frames: need a number of frames each"
        )
    return _shares(segments, frames)


def _qmap(bins: _Data, start: Document) -> tuple[QMap, bool]:
    """The q-map in use, and whether its beam centre is known."""
    center = _center(bins, start)
    known = center is not None
    place = center or (0.0, 0.0)
    try:
        qmap = QMap(
            dynamic=np.asarray(bins["dynamic_map"]),
            static=np.asarray(bins["static_map"]),
            mask=np.asarray(bins["mask"]) > 0,
            q=bins["q"],
            static_q=bins["static_q"],
            unit=str(bins["q_unit"]),
            center=place,
            geometry=_geometry(bins, place) if known else None,
            phi=bins.get("phi"),
            static_phi=bins.get("static_phi"),
        )
    except (ReductionError, TypeError, ValueError) as error:
        raise FormatError(f"stream 'qmap' cannot be used ({error}); reduce the raw run again") from error
    return qmap, known


def _center(bins: _Data, start: Document) -> tuple[float, float] | None:
    """As the q-map's event has it, or the configuration that the q-map was made of."""
    configured = _mapping(_mapping(start.get("configuration")).get("qmap")).get("center")
    center = bins.get("center", configured)
    if center is None:
        return None
    values = np.ravel(center)
    if len(values) != 2:
        raise FormatError(f"stream 'qmap': center is {center!r}: need two numbers")
    return _number("center", values[0]), _number("center", values[1])


def _geometry(bins: _Data, center: tuple[float, float]) -> Geometry | None:
    """None unless all lengths are there."""
    distance, energy, pixel_size = (
        _number(key, bins.get(key)) for key in ("distance_m", "energy_kev", "pixel_size_m")
    )
    if any(map(math.isnan, (distance, energy, pixel_size))):
        return None
    angles = np.ravel(bins.get("rotations", np.zeros(3))).tolist()
    return Geometry(
        center=center,
        distance_m=distance,
        energy_kev=energy,
        pixel_size_m=pixel_size,
        rotations=tuple(angles),
    )


def _two_time(maps: _Data) -> TwoTimeMaps:
    return TwoTimeMaps(bins=maps["bins"], c2=maps["c2"], width=_whole("width", maps["width"]))


def provenance_of(start: Document, raw: RawRun | None, ledger: Stream) -> Provenance:
    """What the start document of an analysis run, the raw run and the ledger tell."""
    raw = raw or RawRun(start={})
    known = {**raw.start, **start}
    scan_id, uid = known.get("scan_id"), str(start.get("uid", ""))
    return Provenance(
        identifier=str(scan_id if scan_id is not None else known.get("raw_uid", uid)),
        raw_uid=str(start.get("raw_uid", "")),
        result_uid=uid,
        scan_id=None if scan_id is None else _whole("scan_id", scan_id),
        start_time=_iso("time", raw.start.get("time")),
        end_time=_iso("time", raw.stop.get("time")),
        # A period of 0 is not known.
        frame_period_s=_number("frame_period_s", start.get("frame_period_s")) or math.nan,
        exposure_s=_exposure(raw.configuration),
        energy_kev=_number("energy_kev", known.get("energy_kev")),
        detector=str(start.get("detector", "")),
        sample=_text(known.get("sample", "")),
        metadata={key: _text(known[key]) for key in _LABELS if key in known},
        software={str(name): str(number) for name, number in _mapping(start.get("software")).items()},
        configuration=_mapping(start.get("configuration")),
        ledger={
            key: value if isinstance(value, str) else _whole(key, value) for key, value in ledger.items()
        },
    )


def _exposure(configuration: Mapping[str, Any]) -> float:
    """The camera's `acquire_time`, whatever the device's name stands before it."""
    found = [value for key, value in configuration.items() if key.endswith("acquire_time")]
    return _number("acquire_time", found[0]) if len(found) == 1 else math.nan


def _iso(name: str, seconds: Any) -> str:
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(_number(name, seconds), UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError, OSError) as error:
        raise FormatError(f"document: {name} is {str(seconds)!r}: need seconds since 1970") from error


def _number(name: str, value: Any) -> float:
    """NaN where there is none."""
    try:
        return math.nan if value is None else float(value)
    except (TypeError, ValueError) as error:
        raise FormatError(f"document: {name} is {str(value)!r}: need a number") from error


def _whole(name: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"document: {name} is {str(value)!r}: need a whole number") from error


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
