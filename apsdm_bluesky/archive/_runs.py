"""The runs of the archive: what is listed, and where their local copies are."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from apsdm_bluesky.database import Database

from ._events import Event
from ._history import log_transition
from ._local_copy import LocalCopy, apply_local
from ._machine import TransitionError
from ._record import State
from ._tables import bundled, records, runs

_ORDER = (State.QUEUED, State.BUNDLED, State.SUBMITTED, State.COPIED, State.ON_TAPE, State.VERIFIED)


_LAST = "\U0010ffff"  # no character comes after it


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """A run that is archived, or is to be. Times in seconds since the Unix epoch.

    Parameters
    ----------
    raw_uid
        Of the run that it analyses; None for a raw run.
    experiment
        Named in its start document.
    started
        When it began, as its start document tells.
    size
        Bytes of its files, when its bundles were planned.
    state, reason
        Of the bundle of it that is worst off; QUEUED where it is in none yet.
    local, local_reason
        Its raw data on this side, and what hinders their removal.
    pinned_until
        It is not released before.
    """

    uid: str
    collection: str
    raw_uid: str | None = None
    experiment: str | None = None
    started: float | None = None
    size: int | None = None
    state: State = State.QUEUED
    reason: str = ""
    local: LocalCopy = LocalCopy.HELD
    local_reason: str = ""
    pinned_until: float | None = None
    created: float = 0.0
    updated: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs are listed; what is None or empty does not restrict.

    Parameters
    ----------
    uid
        The beginning of the uid.
    since, until
        Of the run's start [s since the Unix epoch]; `until` is not included.
    limit
        So many at most, the latest first.
    """

    uid: str | None = None
    states: Sequence[State] = ()
    experiment: str | None = None
    since: float | None = None
    until: float | None = None
    limit: int | None = None


class RunTable:
    """The runs in the ledger; see there for what is raised."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entry: RunEntry, *, actor: str) -> bool:
        """Add a run; False, and nothing changes, where it is there already, of whatever station."""
        now = time.time()
        values = asdict(entry) | {"created": now, "updated": now, "station": self._database.station}
        try:
            with self._database.begin() as connection:
                connection.execute(sa.insert(runs).values(values))
                log_transition(
                    connection,
                    entry.uid,
                    time=now,
                    event="Requested",
                    states=(None, entry.state),
                    evidence={},
                    actor=actor,
                )
        except IntegrityError:
            return False
        return True

    def get(self, uid: str) -> RunEntry | None:
        """The run; None where the ledger has none of that uid."""
        found = self._select(sa.select(runs).where(runs.c.uid == uid))
        return found[0] if found else None

    def list(self, wanted: RunFilter = RunFilter()) -> Sequence[RunEntry]:
        """The runs of all stations that fit, the latest first."""
        query = sa.select(runs).order_by(runs.c.started.desc(), runs.c.uid)
        for condition in _conditions(wanted):
            query = query.where(condition)
        return self._select(query.limit(wanted.limit))

    def unplanned(self) -> Sequence[RunEntry]:
        """The station's runs that are in no bundle yet, in the order of their requests."""
        query = sa.select(runs).outerjoin(bundled, bundled.c.run == runs.c.uid)
        mine = (runs.c.station == self._database.station, bundled.c.bundle.is_(None))
        return self._select(
            query.where(runs.c.state == State.QUEUED, *mine).order_by(runs.c.created, runs.c.uid)
        )

    def local_copies(self, state: LocalCopy) -> Sequence[RunEntry]:
        """The station's runs whose local copy is in `state`, in the order they came there."""
        query = sa.select(runs).where(runs.c.station == self._database.station, runs.c.local == state)
        return self._select(query.order_by(runs.c.updated, runs.c.uid))

    def unverified_analyses(self) -> Sequence[RunEntry]:
        """The analyses of all stations that are not archived."""
        safe = (State.VERIFIED, State.RELEASED)
        return self._select(sa.select(runs).where(runs.c.raw_uid.is_not(None), runs.c.state.not_in(safe)))

    def known(self) -> set[str]:
        """The uids of all runs."""
        with self._database.read() as connection:
            return set(connection.execute(sa.select(runs.c.uid)).scalars())

    def counts(self) -> Mapping[State, int]:
        """How many runs are in each state."""
        query = sa.select(runs.c.state, sa.func.count()).group_by(runs.c.state)
        with self._database.read() as connection:
            return {State(state): number for state, number in connection.execute(query)}

    def set_waiting(self, uid: str, reason: str) -> None:
        """Why a run is in no bundle yet."""
        self._update(uid, reason=reason)

    def set_size(self, uid: str, size: int) -> None:
        """The bytes of its files."""
        self._update(uid, size=size)

    def pin(self, uid: str, until: float | None) -> None:
        """Do not release it before; None: the pin is taken off."""
        self._update(uid, pinned_until=until)

    def apply(self, uid: str, event: Event, *, actor: str) -> RunEntry:
        """Put a run's local copy through `event` and keep both, or neither; returns the new entry.

        Raises
        ------
        TransitionError
            The event cannot happen in this state.
        """
        with self._database.begin() as connection:
            return apply_to_run(connection, uid, event, actor=actor)

    def _update(self, uid: str, **values: Any) -> None:
        with self._database.begin() as connection:
            connection.execute(sa.update(runs).where(runs.c.uid == uid).values(values))

    def _select(self, query: Any) -> "Sequence[RunEntry]":
        with self._database.read() as connection:
            return [_entry(row) for row in connection.execute(query)]


def lock_run(connection: sa.Connection, uid: str) -> RunEntry:
    """The run as it stands, which nobody else changes before the end of the transaction.

    Raises
    ------
    TransitionError
        The ledger has none of that uid.
    """
    row = connection.execute(sa.select(runs).where(runs.c.uid == uid).with_for_update()).one_or_none()
    if row is None:
        raise TransitionError(f"run {uid} is not in the ledger")
    return _entry(row)


def apply_to_run(connection: sa.Connection, uid: str, event: Event, *, actor: str) -> RunEntry:
    """As `RunTable.apply`, in a transaction that changes more."""
    before = lock_run(connection, uid)
    local = apply_local(uid, before.local, before.state, event)
    evidence = asdict(event)
    values = {"local": local, "local_reason": evidence.get("local_reason", ""), "updated": time.time()}
    connection.execute(sa.update(runs).where(runs.c.uid == uid).values(values))
    log_transition(
        connection,
        uid,
        time=values["updated"],
        event=type(event).__name__,
        states=(before.local, local),
        evidence=evidence,
        actor=actor,
    )
    refresh_runs(connection, [uid])
    return _entry(connection.execute(sa.select(runs).where(runs.c.uid == uid)).one())


def refresh_runs(connection: sa.Connection, uids: Iterable[str]) -> None:
    """Derive the states of runs from those of their bundles, in the transaction that changed these.

    The runs are locked first, all in one order: of two transactions that each change another bundle of a run,
    the second one must see what the first has changed.
    """
    ordered = sorted(uids)
    for uid in ordered:
        connection.execute(sa.select(runs.c.uid).where(runs.c.uid == uid).with_for_update())
    for uid in ordered:
        bundles = sa.select(records.c.state, records.c.reason).join(
            bundled, bundled.c.bundle == records.c.uid
        )
        found = [
            (State(row.state), row.reason) for row in connection.execute(bundles.where(bundled.c.run == uid))
        ]
        local = connection.execute(sa.select(runs.c.local).where(runs.c.uid == uid)).scalar_one()
        if not found:
            continue
        state, reason = min(found, key=_rank)
        if state is State.VERIFIED and local in (LocalCopy.RELEASED, LocalCopy.RESTORING):
            state = State.RELEASED
        values = {"state": state, "reason": reason, "updated": time.time()}
        connection.execute(sa.update(runs).where(runs.c.uid == uid).values(values))


def _rank(found: tuple[State, str]) -> int:
    """The worse a bundle is off, the lower: what needs a person comes first."""
    return _ORDER.index(found[0]) if found[0] in _ORDER else -1


def _conditions(wanted: RunFilter) -> Iterable[sa.ColumnElement[bool]]:
    if wanted.uid:
        yield runs.c.uid >= wanted.uid  # not LIKE: SQLite's has no index, and takes 'a' for 'A'
        yield runs.c.uid < f"{wanted.uid}{_LAST}"
    if wanted.states:
        yield runs.c.state.in_(wanted.states)
    if wanted.experiment is not None:
        yield runs.c.experiment == wanted.experiment
    if wanted.since is not None:
        yield runs.c.started >= wanted.since
    if wanted.until is not None:
        yield runs.c.started < wanted.until


def _entry(row: sa.Row[Any]) -> RunEntry:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented way to a row's mapping
    del fields["station"]
    fields["state"], fields["local"] = State(fields["state"]), LocalCopy(fields["local"])
    return RunEntry(**fields)
