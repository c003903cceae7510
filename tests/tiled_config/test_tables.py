"""Rows of tables, appended by many at once, as two beamline sessions and the agent do."""

import concurrent.futures
import threading

import pytest

from apsdm_bluesky.tiled_config._tables import one_at_a_time

WRITERS = 6
APPENDS = 15


def test_rows_appended_by_many_at_once_are_all_there(tiled_server):
    """With Tiled's own pool the threads end each other's transaction, and the catalogue stays locked."""
    begin = threading.Barrier(WRITERS)

    def append(writer: int) -> str:
        with tiled_server.client() as root:
            begin.wait(60)
            table = root.create_appendable_table(schema(), key=f"rows-{writer}")
            for number in range(APPENDS):
                table.append_partition(0, rows(writer, number))
            return f"rows-{writer}"

    with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
        keys = list(pool.map(append, range(WRITERS), timeout=120))
    with tiled_server.client() as root:
        for writer, key in enumerate(keys):
            read = root[key].read()
            assert list(read["number"]) == list(range(APPENDS))
            assert set(read["writer"]) == {writer}


def test_a_pool_in_use_is_not_replaced(tmp_path):
    one_at_a_time(f"duckdb:///{tmp_path / 'tables.duckdb'}")
    with pytest.raises(RuntimeError, match="before the server takes requests"):
        one_at_a_time(f"duckdb:///{tmp_path / 'tables.duckdb'}")


def schema():
    import pyarrow

    return pyarrow.schema([("writer", pyarrow.int64()), ("number", pyarrow.int64())])


def rows(writer, number):
    import pyarrow

    return pyarrow.table({"writer": [writer], "number": [number]}, schema=schema())
