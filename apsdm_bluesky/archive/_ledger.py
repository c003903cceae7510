"""The archive's durable truth: one record a run, and every transition that made it what it is."""

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from apsdm_bluesky.durable import make_folder
from apsdm_bluesky.errors import StorageError

from ._events import Event
from ._machine import apply
from ._record import Evidence, Record, State

_metadata = sa.MetaData()

_records = sa.Table(
    "records",
    _metadata,
    sa.Column("uid", sa.String, primary_key=True),
    sa.Column("collection", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False, index=True),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("needs_person", sa.Boolean, nullable=False),
    sa.Column("resume_at", sa.String),
    sa.Column("destination", sa.String),
    sa.Column("size", sa.BigInteger),
    sa.Column("sha256", sa.String),
    sa.Column("md5", sa.String),
    sa.Column("manifest_size", sa.BigInteger),
    sa.Column("manifest_sha256", sa.String),
    sa.Column("submission_id", sa.String),
    sa.Column("task_id", sa.String),
    sa.Column("residency", sa.String, nullable=False),
    sa.Column("read_submission_id", sa.String),
    sa.Column("read_task_id", sa.String),
    sa.Column("evidence", sa.String),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
)

_transitions = sa.Table(
    "transitions",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uid", sa.String, sa.ForeignKey("records.uid"), nullable=False, index=True),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("event", sa.String, nullable=False),
    sa.Column("from_state", sa.String),
    sa.Column("to_state", sa.String, nullable=False),
    sa.Column("evidence", sa.String, nullable=False),
    sa.Column("actor", sa.String, nullable=False),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TransitionEntry:
    """One line of a record's history: `evidence` is the event's content; the first has no `from_state`."""

    time: float
    event: str
    from_state: State | None
    to_state: State
    evidence: dict[str, Any]
    actor: str


class Ledger:
    """The records in the SQLite file ``<folder>/ledger.sqlite``. Any process may read; one agent writes.

    Every method raises `StorageError` where the database cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ledger.sqlite"
        with self._errors():
            make_folder(folder)
            self._engine = sa.create_engine(f"sqlite:///{self._path}", connect_args={"timeout": 30})
            sa.event.listen(self._engine, "connect", _set_durable)
            _metadata.create_all(self._engine)

    def enqueue(self, uid: str, *, collection: str, actor: str) -> bool:
        """Add a record for a run; False, and nothing changes, where it has one."""
        now = time.time()
        record = Record(uid=uid, collection=collection, created=now, updated=now)
        try:
            with self._errors(), self._engine.begin() as connection:
                connection.execute(sa.insert(_records).values(_row(record)))
                _log(connection, None, record, "Requested", {}, actor)
        except IntegrityError:
            return False
        return True

    def apply(self, uid: str, event: Event, *, actor: str) -> Record:
        """Put the run's record through `event` and keep both, or neither; returns the new record."""
        with self._errors(), self._engine.begin() as connection:
            row = connection.execute(sa.select(_records).where(_records.c.uid == uid)).one()
            before = _record(row)
            after = dataclasses.replace(apply(before, event), updated=time.time())
            connection.execute(sa.update(_records).where(_records.c.uid == uid).values(_row(after)))
            _log(connection, before.state, after, type(event).__name__, dataclasses.asdict(event), actor)
        return after

    def get(self, uid: str) -> Record | None:
        """The record of a run; None where it has none."""
        with self._errors(), self._engine.connect() as connection:
            row = connection.execute(sa.select(_records).where(_records.c.uid == uid)).one_or_none()
        return None if row is None else _record(row)

    def list(self, *states: State) -> Sequence[Record]:
        """The records in any of `states` (all where none is given), in the order they were requested."""
        query = sa.select(_records).order_by(_records.c.created, _records.c.uid)
        if states:
            query = query.where(_records.c.state.in_(states))
        with self._errors(), self._engine.connect() as connection:
            return [_record(row) for row in connection.execute(query)]

    def history(self, uid: str) -> Sequence[TransitionEntry]:
        """What happened to a run's record, in order."""
        query = sa.select(_transitions).where(_transitions.c.uid == uid).order_by(_transitions.c.id)
        with self._errors(), self._engine.connect() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except (OSError, DBAPIError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error.strerror
            raise StorageError(
                f"{self._path}: {cause}; free space or give access, the archive goes on by itself"
            ) from error


def _set_durable(connection: Any, _: object) -> None:
    """A committed submission id must survive a power cut, not only a crash: synchronous is FULL."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _row(record: Record) -> dict[str, Any]:
    return dataclasses.asdict(record)


def _record(row: sa.Row[Any]) -> Record:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented way to a row's mapping
    fields["state"] = State(fields["state"])
    for name, kind in (("resume_at", State), ("evidence", Evidence)):
        fields[name] = None if fields[name] is None else kind(fields[name])
    return Record(**fields)


def _log(
    connection: sa.Connection,
    before: State | None,
    after: Record,
    event: str,
    evidence: dict[str, Any],
    actor: str,
) -> None:
    line = {
        "uid": after.uid,
        "time": after.updated,
        "event": event,
        "from_state": before,
        "to_state": after.state,
        "evidence": json.dumps(evidence),
        "actor": actor,
    }
    connection.execute(sa.insert(_transitions).values(line))


def _entry(row: sa.Row[Any]) -> TransitionEntry:
    return TransitionEntry(
        time=row.time,
        event=row.event,
        from_state=None if row.from_state is None else State(row.from_state),
        to_state=State(row.to_state),
        evidence=json.loads(row.evidence),
        actor=row.actor,
    )
