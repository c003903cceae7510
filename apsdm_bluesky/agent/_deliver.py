"""A session of the spool for documents of the agent itself, delivered as they come."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from apsdm_bluesky.spool import Spool, SpoolSession


@contextmanager
def delivered_session(
    spool: Spool, uri: str | None, api_key: str | None
) -> Iterator[tuple[SpoolSession, Callable[[], None]]]:
    """A session, and what to call when there is something new in it.

    What is not delivered when the context ends, the next agent delivers.

    Parameters
    ----------
    uri, api_key
        The Tiled server; without, nothing is delivered.
    """
    session = spool.open_session()
    try:
        if uri is None:
            yield session, lambda: None
            return
        from apsdm_bluesky.spool import Delivery

        delivery = Delivery(session, uri, api_key)
        delivery.start()
        try:
            yield session, delivery.wake
        finally:
            delivery.close(0)
    finally:
        session.close()
