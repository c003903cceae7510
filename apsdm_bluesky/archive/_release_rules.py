"""Whether a run's raw data may be removed from this side: pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from apsdm_bluesky.config import ArchiveConfig

from ._local_copy import LocalCopy
from ._record import Evidence, Record, State
from ._runs import RunEntry

DAY_S = 86400.0
_STRENGTH = (Evidence.DESTINATION_MD5, Evidence.RESTORED_SHA256)  # the stronger comes later


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether it is allowed, and why: what allows it, or everything that forbids it."""

    allowed: bool
    reasons: tuple[str, ...]


def verdict(
    entry: RunEntry,
    bundles: Sequence[Record],
    config: ArchiveConfig,
    *,
    now: float,
    analyses: Sequence[tuple[str, str]] = (),
    restores: Sequence[str] = (),
) -> Verdict:
    """Whether the raw data of a run may be removed.

    Parameters
    ----------
    bundles
        All that hold the run.
    now
        Seconds since the Unix epoch.
    analyses
        The run's analyses that are not archived, as (uid, what they are instead).
    restores
        Jobs that bring its files back to their places and have not ended.
    """
    hindrances = (
        *_here(entry),
        *_unverified(entry, bundles),
        *_weak(bundles, Evidence(config.release_evidence)),
        *_kept(entry, config.keep_days, now),
        *_short_retention(bundles, config, now),
        *(f"analysis {uid} of it is not archived: {state}" for uid, state in analyses),
        *(f"job {job} restores it" for job in restores),
    )
    if hindrances:
        return Verdict(allowed=False, reasons=hindrances)
    return Verdict(allowed=True, reasons=tuple(_grounds(entry, bundles, config)))


def retention_end(record: Record, config: ArchiveConfig) -> float | None:
    """When the destination may remove a bundle [s since the Unix epoch]; None: never.

    It is counted from when the bundle was planned, which was before it arrived: rather too early. The time of
    its verification would not do, a drill renews it.
    """
    return None if config.retention_days is None else record.created + config.retention_days * DAY_S


def date(time: float) -> str:
    """A time for people, UTC."""
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M} UTC"


def _here(entry: RunEntry) -> Iterator[str]:
    if entry.raw_uid is not None:
        yield f"is an analysis of run {entry.raw_uid}: it has no raw data"
    told = {
        LocalCopy.RELEASING: "is being released",
        LocalCopy.RELEASED: "released already",
        LocalCopy.RESTORING: "is being restored",
    }.get(entry.local)
    if told is not None:
        yield f"{told}: {entry.local_reason}" if entry.local_reason else told


def _unverified(entry: RunEntry, bundles: Sequence[Record]) -> Iterator[str]:
    found = [record for record in bundles if record.state is not State.VERIFIED or record.verified is None]
    for record in found:
        yield f"not verified: bundle {record.uid} is {record.state}"
    if bundles and len(bundles) != bundles[0].parts:
        yield f"not verified: {len(bundles)} of {bundles[0].parts} bundles are known"
    if not bundles or (not found and entry.state not in (State.VERIFIED, State.RELEASED)):
        yield f"not verified: {entry.state}"


def _weak(bundles: Sequence[Record], asked: Evidence) -> Iterator[str]:
    for record in bundles:
        told = record.evidence
        if told is not None and _STRENGTH.index(told) < _STRENGTH.index(asked):
            yield f"evidence of {record.uid} is {told}, {asked} is asked for (archive.release_evidence)"
        elif told is None and record.state is State.VERIFIED:
            yield f"bundle {record.uid} has no evidence"


def _kept(entry: RunEntry, keep_days: float, now: float) -> Iterator[str]:
    if entry.pinned_until is not None and now < entry.pinned_until:
        yield f"pinned until {date(entry.pinned_until)}"
    if now < (until := _kept_until(entry, keep_days)):
        yield f"kept until {date(until)} (archive.keep_days)"


def _short_retention(bundles: Sequence[Record], config: ArchiveConfig, now: float) -> Iterator[str]:
    """Where the destination's copy is soon gone, the local one is the only one."""
    soon = now + config.expiry_warning_days * DAY_S
    for record in bundles:
        end = retention_end(record, config)
        if end is not None and end <= soon:
            yield f"the tape's retention of bundle {record.uid} ends {date(end)}, before {date(soon)}"


def _kept_until(entry: RunEntry, keep_days: float) -> float:
    return (entry.created if entry.started is None else entry.started) + keep_days * DAY_S


def _grounds(entry: RunEntry, bundles: Sequence[Record], config: ArchiveConfig) -> Iterator[str]:
    for record in bundles:
        if record.verified is not None:
            yield f"bundle {record.uid} verified by {record.evidence} on {date(record.verified)}"
    yield f"kept until {date(_kept_until(entry, config.keep_days))} (archive.keep_days)"
    if entry.pinned_until is not None:
        yield f"pinned until {date(entry.pinned_until)}"
