"""The tables of workflows and jobs."""

import sqlalchemy as sa

from apsdm_bluesky.database import Text, first_tables

metadata = sa.MetaData()

# One row a version of a definition; none is ever changed.
definitions = sa.Table(
    "workflow_definitions",
    metadata,
    sa.Column("owner", Text, primary_key=True),
    sa.Column("name", Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("text", Text, nullable=False),
    sa.Column("added", sa.Float, nullable=False),
    sa.Column("actor", Text, nullable=False),
)

# One row a job; a `Job`.
jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("station", sa.String, nullable=False),
    sa.Column("owner", Text, nullable=False),
    sa.Column("workflow_owner", Text, nullable=False),
    sa.Column("workflow", Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("stages", Text, nullable=False),
    sa.Column("arguments", Text, nullable=False),
    sa.Column("run", Text),
    sa.Column("rule", Text),
    sa.Column("parent", sa.String),
    sa.Column("first", sa.Integer, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("stage", sa.Integer, nullable=False),
    sa.Column("variables", Text, nullable=False),
    sa.Column("ran", sa.Boolean, nullable=False),
    sa.Column("entered", sa.Boolean, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("retry", sa.Integer, nullable=False),
    sa.Column("lost", sa.Integer, nullable=False),
    sa.Column("wake", sa.Float),
    sa.Column("reason", Text, nullable=False),
    sa.Column("blame", sa.String),
    sa.Column("pinned", sa.Boolean, nullable=False),
    sa.Column("removing", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("started", sa.Float),
    sa.Column("ended", sa.Float),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Index("jobs_by_state", "state", "created"),
    sa.Index("jobs_by_owner", "owner", "created"),
    sa.Index("jobs_by_workflow", "workflow", "created"),
    sa.Index("jobs_by_creation", "created"),
    sa.Index("jobs_by_parent", "parent"),
    # Once a run and rule, however often the trigger is looked at; also the listing by run.
    sa.Index("jobs_by_run", "run", "rule", unique=True),
)

# One row a stage of a job; a `StageEntry`.
stages = sa.Table(
    "job_stages",
    metadata,
    sa.Column("job", sa.String, primary_key=True),
    sa.Column("index", sa.Integer, primary_key=True),
    sa.Column("name", Text, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("started", sa.Float),
    sa.Column("ended", sa.Float),
    sa.Column("reason", Text, nullable=False),
    sa.Column("outputs", Text, nullable=False),
    sa.Column("inherited", sa.String),
)

# One row a process; an `Attempt`.
attempts = sa.Table(
    "job_attempts",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("job", sa.String, nullable=False),
    sa.Column("stage", sa.Integer, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("child", sa.Integer, nullable=False),
    sa.Column("item", Text, nullable=False),
    sa.Column("where", sa.String, nullable=False),
    sa.Column("command", Text, nullable=False),
    sa.Column("environment", Text, nullable=False),
    sa.Column("folder", Text, nullable=False),
    sa.Column("working_folder", Text, nullable=False),
    sa.Column("timeout_s", sa.Float),
    sa.Column("prepared", sa.Float, nullable=False),
    sa.Column("asked", sa.Float),
    sa.Column("started", sa.Float),
    sa.Column("ended", sa.Float),
    sa.Column("status", sa.Integer),
    sa.Column("host", Text, nullable=False),
    sa.Column("pid", sa.Integer),
    sa.Column("cpu_s", sa.Float),
    sa.Column("memory", sa.BigInteger),
    sa.Column("blame", sa.String),
    sa.Column("lost", sa.Boolean, nullable=False),
    sa.Column("reason", Text, nullable=False),
    sa.Column("stdout", Text, nullable=False),
    sa.Column("stderr", Text, nullable=False),
    sa.Index("job_attempts_by_job", "job", "stage", "number"),
)

# The history of jobs, line by line.
transitions = sa.Table(
    "job_transitions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job", sa.String, nullable=False, index=True),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("event", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("stage", sa.Integer, nullable=False),
    sa.Column("told", Text, nullable=False),
    sa.Column("actor", Text, nullable=False),
)

_schema = sa.Table("workflows_schema", metadata, sa.Column("version", sa.Integer, primary_key=True))


TABLES = first_tables(room="workflows", file="jobs.sqlite", schema=_schema, lock=4156)
