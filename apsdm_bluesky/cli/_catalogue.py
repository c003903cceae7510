"""The catalogue, for commands that look for a run in it, or put a result there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
from tiled.queries import Key

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ReductionError, ServiceError
from apsdm_bluesky.spool import Delivery, Spool
from apsdm_bluesky.tiled_config import connect, server_key, server_uri

_DELIVERY_TIMEOUT_S = 60.0

Document = tuple[str, dict[str, Any]]


@contextmanager
def opened_catalogue(config: BeamlineConfig) -> Iterator[Any]:
    """The catalogue's root as a Tiled client.

    Raises
    ------
    ServiceError
        The server does not answer.
    """
    client = connect(server_uri(config), server_key(config))
    try:
        yield client
    except httpx.HTTPStatusError as error:
        raise ReductionError(f"the Tiled server: {' '.join(str(error).split())[:500]}") from error
    except httpx.HTTPError as error:
        raise ServiceError(f"the Tiled server does not answer any more ({error})") from error
    finally:
        client.context.http_client.close()


def find_run(client: Any, uid: str, container: str = "raw") -> Any:
    """The run whose uid begins so.

    Raises
    ------
    ReductionError
        There is none, or more than one.
    """
    try:
        return client[container][uid]
    except KeyError as error:
        raise ReductionError(f"run {uid}: the catalogue has no such {container} run") from error
    except ValueError as error:
        raise ReductionError(f"run {uid}: several runs begin so; give more of the uid") from error


def results_of(client: Any, raw_uid: str) -> Sequence[Any]:
    """Analysis runs of a raw run by this package, the first one first."""
    if "processed" not in client:
        return []
    found = client["processed"].search(Key("start.raw_uid") == raw_uid).sort(("start.time", 1))
    return [run for run in found.values() if "producer" not in run.metadata["start"]]


def latest_result(client: Any, raw_uid: str) -> Any:
    """The latest analysis run that ended well.

    Raises
    ------
    ReductionError
        There is none.
    """
    for run in reversed(results_of(client, raw_uid)):
        if (run.metadata.get("stop") or {}).get("exit_status") == "success":
            return run
    raise ReductionError(f"run {raw_uid}: has no result yet; reduce it with 'apsdm reduce'")


def publish(config: BeamlineConfig, documents: Sequence[Document]) -> bool:
    """Put a result into the spool, and deliver it; False where the agent must do that later."""
    from apsdm_bluesky.callbacks import CatalogWriter  # brings the reduction

    session = Spool(config.folders.spool).open_session()
    try:
        delivery = Delivery(session, server_uri(config), server_key(config))
        write = CatalogWriter(session, delivery)
        for name, document in documents:
            write(name, document)
        delivery.start()
        return delivery.close(_DELIVERY_TIMEOUT_S)
    finally:
        session.close()
