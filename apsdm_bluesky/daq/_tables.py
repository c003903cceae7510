"""The tables of DAQs and of the files that they have seen."""

import sqlalchemy as sa

from apsdm_bluesky.database import Text, first_tables

metadata = sa.MetaData()

# One row a DAQ or upload; a `Daq`. `drained`: its files are all at an end, as far as copying goes. `counts`
# are kept when it has ended: they do not change any more, and to count takes long.
daqs = sa.Table(
    "daqs",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("db_station", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("experiment", Text, nullable=False),
    sa.Column("station", Text, nullable=False),
    sa.Column("source", Text, nullable=False),
    sa.Column("root", Text, nullable=False),
    sa.Column("owner", Text, nullable=False),
    sa.Column("options", Text, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("drained", sa.Boolean, nullable=False),
    sa.Column("reason", Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("ended", sa.Float),
    sa.Column("stop_at", sa.Float),
    sa.Column("counts", Text),
    sa.Index("daqs_by_state", "db_station", "state"),
    sa.Index("daqs_by_creation", "created"),
)

# One row a file and version; a `DaqFile`. `base` is where its first version would lie, absolute like `place`.
files = sa.Table(
    "daq_files",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("daq", sa.String, nullable=False),
    sa.Column("name", Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("mtime_ns", sa.BigInteger, nullable=False),
    sa.Column("ino", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("base", Text),
    sa.Column("path", Text),
    sa.Column("sha256", sa.String),
    sa.Column("run", sa.String),
    sa.Column("reason", Text, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
    sa.Index("daq_files_by_name", "daq", "name", "version", unique=True),
    sa.Index("daq_files_by_state", "daq", "state", "id"),
    sa.Index("daq_files_by_base", "base"),
    sa.Index("daq_files_by_run", "run"),
)

# What happened to files, line by line; a `Notice`.
notices = sa.Table(
    "daq_notices",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("daq", sa.String, nullable=False, index=True),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("name", Text, nullable=False),
    sa.Column("text", Text, nullable=False),
)

# Files that are handed on together. `settled`: their run is in the spool, and their jobs are asked for.
batches = sa.Table(
    "daq_batches",
    metadata,
    sa.Column("run", sa.String, primary_key=True),
    sa.Column("daq", sa.String, nullable=False, index=True),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("settled", sa.Boolean, nullable=False),
)

_schema = sa.Table("daq_schema", metadata, sa.Column("version", sa.Integer, primary_key=True))


TABLES = first_tables(room="daq", file="daq.sqlite", schema=_schema, lock=4158)
