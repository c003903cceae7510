"""The tables of experiments."""

import uuid

import sqlalchemy as sa

from apsdm_bluesky.database import Tables, Text

VERSION = 1
metadata = sa.MetaData()

# One row an experiment; an `Experiment`.
experiments = sa.Table(
    "experiments",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("station", Text, nullable=False),
    sa.Column("name", Text, nullable=False),
    sa.Column("type", Text, nullable=False),
    sa.Column("description", Text, nullable=False),
    sa.Column("proposal", Text),
    sa.Column("esaf", Text),
    sa.Column("start", sa.Date),
    sa.Column("end", sa.Date),
    sa.Column("root", Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
    sa.Index("experiments_by_name", "station", "name", unique=True),
    sqlite_autoincrement=True,  # a number names one experiment, for ever
)

# Who takes part in which experiment, in the order in which they were added.
users = sa.Table(
    "experiment_users",
    metadata,
    sa.Column("experiment", sa.Integer, sa.ForeignKey("experiments.id"), primary_key=True),
    sa.Column("user", Text, primary_key=True),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Index("experiment_users_by_user", "user"),
)

# What was done to experiments, and by whom; an `ExperimentChange`.
changes = sa.Table(
    "experiment_changes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("experiment", sa.Integer, nullable=False, index=True),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("told", Text, nullable=False),
    sa.Column("actor", Text, nullable=False),
)

# `list` tells this list of experiments from every other one.
schema = sa.Table(
    "experiments_schema",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("list", sa.String, nullable=False),
)


def _is_current(connection: sa.Connection) -> bool:
    if not sa.inspect(connection).has_table(schema.name):
        return False
    return connection.execute(sa.select(sa.func.max(schema.c.version))).scalar() == VERSION


def _upgrade(connection: sa.Connection, _: str) -> None:
    if connection.dialect.name == "postgresql":  # two that create one table fail
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4161)")
    if not _is_current(connection):
        metadata.create_all(connection)
        connection.execute(sa.insert(schema).values(version=VERSION, list=uuid.uuid4().hex))


TABLES = Tables(room="experiments", file="experiments.sqlite", is_current=_is_current, upgrade=_upgrade)
