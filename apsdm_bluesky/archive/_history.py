"""What happened to a bundle or a run, line by line, in the transaction that made it happen."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ._tables import transitions


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TransitionEntry:
    """One line of a history: `evidence` is the event's content; the first has no `from_state`."""

    time: float
    event: str
    from_state: str | None
    to_state: str
    evidence: dict[str, Any]
    actor: str


def log_transition(
    connection: sa.Connection,
    uid: str,
    *,
    time: float,
    event: str,
    states: tuple[str | None, str],
    evidence: dict[str, Any],
    actor: str,
) -> None:
    """Add a line to the history of `uid`; `states` are those before and after."""
    line = {
        "uid": uid,
        "time": time,
        "event": event,
        "from_state": states[0],
        "to_state": states[1],
        "evidence": json.dumps(evidence),
        "actor": actor,
    }
    connection.execute(sa.insert(transitions).values(line))


def read_history(connection: sa.Connection, uids: Sequence[str]) -> list[TransitionEntry]:
    """The lines of `uids` together, in order."""
    query = sa.select(transitions).where(transitions.c.uid.in_(uids)).order_by(transitions.c.id)
    return [
        TransitionEntry(
            time=row.time,
            event=row.event,
            from_state=row.from_state,
            to_state=row.to_state,
            evidence=json.loads(row.evidence),
            actor=row.actor,
        )
        for row in connection.execute(query)
    ]
