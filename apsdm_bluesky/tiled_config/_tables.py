"""The embedded table store, safe for requests that come at the same time."""

import sqlalchemy.pool

#: Seconds that a request waits for its turn. A turn is one append or one read: milliseconds.
TURN_TIMEOUT_S = 60


def one_at_a_time(uri: str) -> None:
    """Let one request at a time use the DuckDB file of table rows at `uri`.

    Tiled 0.2.20 hands one DuckDB connection to all its threads (a static pool): two appends at once then end
    each other's transaction, one is lost with "no active transaction", and the catalogue's own transaction
    around it can stay open for ever, so that every later write finds the database locked. A pool of one
    connection hands it over only when it has been given back.
    """
    from tiled.storage import SQLStorage, parse_storage

    storage = parse_storage(uri)  # the instance that the server uses: Tiled keeps one for each URI
    if not isinstance(storage, SQLStorage) or "_connection_pool" in vars(storage):
        raise RuntimeError(f"{uri}: the pool of connections must be set before the server takes requests")
    vars(storage)["_connection_pool"] = sqlalchemy.pool.QueuePool(
        storage._adbc_connection.adbc_clone, pool_size=1, max_overflow=0, timeout=TURN_TIMEOUT_S
    )
