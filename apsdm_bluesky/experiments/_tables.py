"""The tables of experiments."""

import uuid

import sqlalchemy as sa

from apsdm_bluesky.database import Text, first_tables

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


def _new_list() -> dict[str, str]:
    return {"list": uuid.uuid4().hex}


TABLES = first_tables(room="experiments", file="experiments.sqlite", schema=schema, lock=4161, more=_new_list)
