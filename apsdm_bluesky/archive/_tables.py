"""The archive's tables, and how those of an earlier version become these."""

import sqlalchemy as sa

from apsdm_bluesky.database import Tables, Text

VERSION = 2

# Ordered by its bytes in every database: a part of it is looked up from its beginning.
_Uid = sa.String().with_variant(sa.String(collation="C"), "postgresql")

metadata = sa.MetaData()

# One row a bundle; a `Record`.
records = sa.Table(
    "records",
    metadata,
    sa.Column("uid", sa.String, primary_key=True),
    sa.Column("station", sa.String, nullable=False),
    sa.Column("collection", Text, nullable=False),
    sa.Column("part", sa.Integer, nullable=False, server_default="1"),
    sa.Column("parts", sa.Integer, nullable=False, server_default="1"),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("reason", Text, nullable=False),
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
    sa.Column("verified", sa.Float),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
    sa.Index("records_by_state", "station", "state", "created"),
)

# One row a run that is to be archived; a `RunEntry`.
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("uid", _Uid, primary_key=True),
    sa.Column("station", sa.String, nullable=False),
    sa.Column("collection", Text, nullable=False),
    sa.Column("raw_uid", sa.String),
    sa.Column("experiment", Text),
    sa.Column("started", sa.Float),
    sa.Column("size", sa.BigInteger),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("reason", Text, nullable=False, server_default=""),
    sa.Column("local", sa.String, nullable=False),
    sa.Column("local_reason", Text, nullable=False, server_default=""),
    sa.Column("pinned_until", sa.Float),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
    sa.Index("runs_by_state", "state", "started"),
    sa.Index("runs_by_experiment", "experiment", "started"),
    sa.Index("runs_by_start", "started"),
    sa.Index("runs_by_raw", "raw_uid"),
)

# Which bundles hold a run: several small runs in one, or a big one in several.
bundled = sa.Table(
    "bundled",
    metadata,
    sa.Column("run", _Uid, sa.ForeignKey("runs.uid"), primary_key=True),
    sa.Column("bundle", sa.String, sa.ForeignKey("records.uid"), primary_key=True, index=True),
    sa.Column("place", sa.Integer, nullable=False),
)

# The history of bundles and runs: `uid` names either.
transitions = sa.Table(
    "transitions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uid", sa.String, nullable=False, index=True),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("event", sa.String, nullable=False),
    sa.Column("from_state", sa.String),
    sa.Column("to_state", sa.String, nullable=False),
    sa.Column("evidence", sa.String, nullable=False),
    sa.Column("actor", Text, nullable=False),
)

# One row a bundle that is read back for somebody, or for a drill; a `Reading`.
readings = sa.Table(
    "readings",
    metadata,
    sa.Column("uid", sa.String, primary_key=True),
    sa.Column("station", sa.String, nullable=False),
    sa.Column("job", sa.String, nullable=False, index=True),
    sa.Column("purpose", sa.String, nullable=False),
    sa.Column("run", sa.String),
    sa.Column("bundle", sa.String, nullable=False, index=True),
    sa.Column("members", sa.String),
    sa.Column("target", sa.String),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("reason", Text, nullable=False),
    sa.Column("needs_person", sa.Boolean, nullable=False),
    sa.Column("resume_at", sa.String),
    sa.Column("manifest_only", sa.Boolean, nullable=False),
    sa.Column("submission_id", sa.String),
    sa.Column("task_id", sa.String),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
    sa.Index("readings_by_state", "station", "state"),
)

_schema = sa.Table("archive_schema", metadata, sa.Column("version", sa.Integer, primary_key=True))


def is_current(connection: sa.Connection) -> bool:
    """Whether the tables are those of this version."""
    if not sa.inspect(connection).has_table(_schema.name):
        return False
    return connection.execute(sa.select(sa.func.max(_schema.c.version))).scalar() == VERSION


def upgrade(connection: sa.Connection, station: str) -> None:
    """Make the tables, or bring those of an earlier version to this one; several may ask for it at once."""
    if connection.dialect.name == "postgresql":  # two that create one table fail
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4155)")
    if is_current(connection):
        return
    from_first = sa.inspect(connection).has_table("records")
    if from_first:
        connection.exec_driver_sql("ALTER TABLE records RENAME TO records_1")
        connection.exec_driver_sql("ALTER TABLE transitions RENAME TO transitions_1")
        for index in ("ix_records_state", "ix_transitions_uid"):
            connection.exec_driver_sql(f"DROP INDEX IF EXISTS {index}")
    metadata.create_all(connection)
    if from_first:
        _take_over_first(connection, station)
    connection.execute(sa.insert(_schema).values(version=VERSION))


def _take_over_first(connection: sa.Connection, station: str) -> None:
    """Version 1 had one bundle a run, under the run's uid."""
    old = sa.Table("records_1", sa.MetaData(), autoload_with=connection)
    for row in connection.execute(sa.select(old)).mappings().all():
        values = dict(row)
        done = values["state"] in ("VERIFIED", "RELEASED")
        verified = values["updated"] if done else None
        connection.execute(sa.insert(records).values(**values, station=station, verified=verified))
        run = {
            name: values[name]
            for name in ("uid", "collection", "size", "state", "reason", "created", "updated")
        }
        connection.execute(sa.insert(runs).values(**run, station=station, local="HELD"))
        connection.execute(sa.insert(bundled).values(run=row["uid"], bundle=row["uid"], place=0))
    connection.exec_driver_sql("INSERT INTO transitions SELECT * FROM transitions_1")
    for table in ("transitions_1", "records_1"):
        connection.exec_driver_sql(f"DROP TABLE {table}")


TABLES = Tables(room="archive", file="ledger.sqlite", is_current=is_current, upgrade=upgrade)
