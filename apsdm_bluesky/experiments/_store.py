"""The durable list of experiments."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.database import Database
from apsdm_bluesky.errors import ExperimentError
from apsdm_bluesky.texts import shortened

from ._experiment import Experiment, NewExperiment
from ._folder import claim_folder
from ._names import check_new, check_user
from ._tables import TABLES, changes, experiments, schema, users

_MAX_ID = 2**31 - 1  # of a number in the tables
_COLUMNS = ("name", "type", "description", "proposal", "esaf", "start", "end")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentChange:
    """What was done to an experiment, by whom; `time` in seconds since the Unix epoch."""

    time: float
    told: str
    actor: str


class ExperimentStore:
    """The experiments of one station, or of several that share a database. Any process may use it.

    Every method raises `StorageError` where the database cannot be read or written, `ServiceError` where its
    server does not answer.

    Parameters
    ----------
    folder, url
        See `Database`.
    root
        Where each new experiment gets its folder, of its name.
    station
        Whose the new experiments are.
    """

    def __init__(self, folder: Path, url: str | None = None, *, root: Path, station: str) -> None:
        self.root = Path(os.path.normpath(root.absolute()))
        self.station = station
        self._database = Database(folder, TABLES, url)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def create(self, new: NewExperiment, *, actor: str) -> Experiment:
        """Make an experiment: its entry, and its folder with `data`, `analysis` and `system`.

        Killed before it returns, it can be called again: the folder is taken as it is.

        Raises
        ------
        ExperimentError
            The name is taken, its folder is there already, or something in `new` cannot be used.
        StorageError
            Its folder cannot be made.
        """
        check_new(new)
        try:
            with self._database.begin() as connection:
                # The name first: nobody else makes this folder until the transaction has ended.
                number = self._insert(connection, new, actor)
                listed = str(connection.execute(sa.select(schema.c.list)).scalar_one())
                owner = {"experiment": new.name, "station": self.station, "list": listed}
                claim_folder(self.root / new.name, owner)
                return self._only(connection, experiments.c.id == number, f"{new.name!r}")
        except IntegrityError as error:
            raise ExperimentError(
                f"experiment {new.name!r} is there already at station {self.station!r}; choose another "
                f"name, or see 'apsdm experiment show {new.name}'"
            ) from error

    def get(self, name: str, station: str | None = None) -> Experiment:
        """The experiment of that name, by default of this station.

        Raises
        ------
        ExperimentError
            There is none.
        """
        with self._database.read() as connection:
            return self._named(connection, name, station)

    def by_id(self, id: int) -> Experiment:  # noqa: A002 - the field's name
        """The experiment with that number.

        Raises
        ------
        ExperimentError
            There is none.
        """
        with self._database.read() as connection:
            return self._only(connection, experiments.c.id == (id if 0 < id <= _MAX_ID else 0), f"{id}")

    def list(self, station: str | None = None, user: str | None = None) -> Sequence[Experiment]:
        """Experiments, the latest first.

        Parameters
        ----------
        station
            Those of this station; None: of all that share the database.
        user
            Those in which this one takes part.
        """
        query = sa.select(experiments).order_by(experiments.c.created.desc(), experiments.c.id.desc())
        if station is not None:
            query = query.where(experiments.c.station == station)
        if user is not None:
            query = query.where(
                experiments.c.id.in_(sa.select(users.c.experiment).where(users.c.user == user))
            )
        with self._database.read() as connection:
            return _found(connection, query)

    def add_user(self, name: str, user: str, *, actor: str) -> Experiment:
        """Have somebody take part in an experiment of this station; who does so already changes nothing.

        Raises
        ------
        ExperimentError
            There is no such experiment, or it is no login name.
        """
        check_user(user)
        with self._database.begin() as connection:
            found = self._named(connection, name)
            # Two that add at once: the second one waits here, and then sees what the first one did.
            touched = sa.update(experiments).where(experiments.c.id == found.id)
            connection.execute(touched.values(updated=experiments.c.updated))
            found = self._named(connection, name)
            if user in found.users:
                return found
            connection.execute(touched.values(updated=time.time()))
            _add_users(connection, found.id, (user,), first=len(found.users))
            _log(connection, found.id, f"user {user} added", actor)
            return self._named(connection, name)

    def changes(self, experiment: Experiment) -> "Sequence[ExperimentChange]":
        """What was done to an experiment, in order."""
        query = sa.select(changes).where(changes.c.experiment == experiment.id).order_by(changes.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [ExperimentChange(time=row.time, told=row.told, actor=row.actor) for row in rows]

    def _insert(self, connection: sa.Connection, new: NewExperiment, actor: str) -> int:
        now = time.time()
        values = {name: getattr(new, name) for name in _COLUMNS}
        more = {"station": self.station, "root": f"{self.root / new.name}", "created": now, "updated": now}
        key = connection.execute(sa.insert(experiments).values(values | more)).inserted_primary_key
        number = int(key[0]) if key is not None else 0
        _add_users(connection, number, tuple(dict.fromkeys(new.users)))
        _log(connection, number, "created", actor)
        return number

    def _named(self, connection: sa.Connection, name: str, station: str | None = None) -> Experiment:
        station = self.station if station is None else station
        where = sa.and_(experiments.c.name == name, experiments.c.station == station)
        return self._only(connection, where, f"{shortened(name, 40)!r} of station {shortened(station, 40)!r}")

    @staticmethod
    def _only(connection: sa.Connection, where: sa.ColumnElement[bool], told: str) -> Experiment:
        found = _found(connection, sa.select(experiments).where(where))
        if not found:
            raise ExperimentError(f"experiment {told} is not known; see 'apsdm experiment ls'")
        return found[0]


def open_experiments(config: BeamlineConfig, *, station: str | None = None) -> ExperimentStore:
    """The experiments of a beamline; see `ExperimentStore`.

    Parameters
    ----------
    station
        In place of the beamline's.

    Raises
    ------
    ConfigError
        `experiments.database` cannot be used.
    """
    return ExperimentStore(
        config.folders.experiments,
        config.experiments.database,
        root=config.experiments_root,
        station=config.station if station is None else station,
    )


def _found(connection: sa.Connection, query: "sa.Select[Any]") -> Sequence[Experiment]:
    rows = connection.execute(query).all()
    taking_part: dict[int, list[str]] = {row.id: [] for row in rows}
    chosen = sa.select(users.c.experiment, users.c.user).order_by(users.c.place)
    if len(rows) == 1:
        chosen = chosen.where(users.c.experiment == rows[0].id)
    for number, user in connection.execute(chosen):
        if number in taking_part:
            taking_part[number].append(user)
    return [_experiment(row, tuple(taking_part[row.id])) for row in rows]


def _experiment(row: sa.Row[Any], taking_part: tuple[str, ...]) -> Experiment:
    values = {**row._mapping, "root": Path(row.root), "users": taking_part}  # noqa: SLF001 - public, in spite of its name
    return Experiment(**values)


def _add_users(connection: sa.Connection, number: int, names: Sequence[str], first: int = 0) -> None:
    rows = [{"experiment": number, "user": user, "place": first + i} for i, user in enumerate(names)]
    if rows:
        connection.execute(sa.insert(users), rows)


def _log(connection: sa.Connection, number: int, told: str, actor: str) -> None:
    connection.execute(sa.insert(changes).values(experiment=number, time=time.time(), told=told, actor=actor))
