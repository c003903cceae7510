"""Rows of the tables, and what they are."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ._daq import Counts, Daq, DaqFile, DaqOptions, DaqState, FileState, Kind, NewDaq

_FILE = tuple(field.name for field in fields(DaqFile))


def values_of(new: NewDaq) -> dict[str, Any]:
    """The columns that say what was asked for."""
    return {
        "kind": new.kind.value,
        "experiment": new.experiment,
        "station": new.station,
        "source": str(new.source),
        "root": str(new.root),
        "owner": new.owner,
        "options": json.dumps(asdict(new.options)),
    }


def daq_of(row: sa.Row[Any], counts: Counts | None = None) -> Daq:
    """The DAQ of a row; without counts those that it ended with, or none."""
    if counts is None:
        counts = Counts(**json.loads(row.counts)) if row.counts else Counts()
    return Daq(
        id=row.id,
        kind=Kind(row.kind),
        experiment=row.experiment,
        station=row.station,
        source=Path(row.source),
        root=Path(row.root),
        owner=row.owner,
        options=_options(json.loads(row.options)),
        state=DaqState(row.state),
        reason=row.reason,
        created=row.created,
        ended=row.ended,
        stop_at=row.stop_at,
        counts=counts,
    )


def file_of(row: sa.Row[Any]) -> DaqFile:
    """The file of a row."""
    values = {name: getattr(row, name) for name in _FILE}
    return DaqFile(**values | {"state": FileState(row.state)})


def _options(values: Mapping[str, Any]) -> DaqOptions:
    """JSON made lists of tuples."""
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return DaqOptions(**given)
