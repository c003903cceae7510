"""The catalogue as the delivery sees it: two containers on a Tiled server, and what its errors mean.

The settings of Tiled's own retries are read when Tiled is imported. They are short here: after an error the
whole run is delivered again from the spool, which is safe at any point, where a repeated request may not be.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TILED_RETRY_ATTEMPTS", "2")
os.environ.setdefault("TILED_RETRY_TIMEOUT", "5")

import httpx
from bluesky_tiled_plugins import TiledWriter
from tiled.client import from_uri
from tiled.client.utils import handle_error
from tiled.structures.core import Spec

from apsdm_bluesky.spool._consolidators import register_consolidators
from apsdm_bluesky.spool._dtypes import DtypeCompleter
from apsdm_bluesky.spool._nodes import Nodes

# Answers that are not about the run itself: no permission yet, no time, the run or its parent gone.
# Every other 4xx refuses the run for good.
_TRY_AGAIN = frozenset({401, 403, 404, 408, 409, 425, 429})
register_consolidators()

_RUNS = Spec("CatalogOfBlueskyRuns", version="3.0")


class UnavailableError(Exception):
    """The server does not answer, or not us: nothing can be delivered for now."""


class FailedError(Exception):
    """A run was not taken; it may be when it is delivered again."""


class RefusedError(Exception):
    """A run will never be taken as it is."""


class _RepeatedError(Exception):
    """A request that appends rows would be sent for the second time."""


def open_client(uri: str, api_key: str | None) -> Any:
    """A Tiled client of the server at `uri`, address and key checked first.

    Tiled's own constructor leaves its sockets open when it fails.

    Raises
    ------
    httpx.HTTPError, httpx.InvalidURL
        The server does not answer, or refuses the key.
    """
    address, _, path = uri.rstrip("/").partition("/api/v1")
    headers = {"Authorization": f"Apikey {api_key}"} if api_key else {}
    answer = httpx.get(f"{address}/api/v1{path or '/metadata/'}", headers=headers, timeout=10)
    if (
        api_key or answer.status_code != httpx.codes.UNAUTHORIZED
    ):  # without a key Tiled looks for others itself
        answer.raise_for_status()
    return from_uri(uri, api_key=api_key, remember_me=False)


class Catalogue:
    """A connection to the server. Used by one thread."""

    def __init__(self, uri: str, api_key: str | None) -> None:
        with _meaning_of_errors(UnavailableError):
            self._client = open_client(uri, api_key)
        self._containers: dict[str, Any] = {}
        self._last_append = b""
        self._client.context.http_client.event_hooks["request"].append(self._refuse_repetition)

    def stop_uid(self, container: str, run_uid: str) -> str | None:
        """The uid of the stop document of a run on the server.

        Returns
        -------
        None where the server has no such run, the empty string where the run is not complete.
        """
        with _meaning_of_errors(FailedError):
            parent = self._container(container)
            response = parent.context.http_client.get(f"{parent.uri}/{run_uid}")
            if response.status_code == httpx.codes.NOT_FOUND:
                return None
            metadata = handle_error(response).json()["data"]["attributes"]["metadata"]
        return str((metadata.get("stop") or {}).get("uid", ""))

    def delete(self, container: str, run_uid: str) -> None:
        """Remove a run and the data the server holds of it; files it only refers to stay."""
        with _meaning_of_errors(FailedError):
            self._container(container).delete_contents(run_uid, recursive=True, external_only=False)

    def writer(self, container: str, batch_size: int) -> "RunWriter":
        """A writer for one run from its start, which writes after every `batch_size` events."""
        self._last_append = b""  # a run that is delivered again repeats its appends, rightly
        with _meaning_of_errors(FailedError):
            return RunWriter(_tiled_writer(self._container(container), batch_size))

    def nodes(self) -> Nodes:
        """Single nodes of the server."""
        context = self._client.context
        return Nodes(context.http_client, str(context.api_uri), lambda: _meaning_of_errors(RefusedError))

    def close(self) -> None:
        """End the connection."""
        self._client.context.http_client.close()

    def _container(self, name: str) -> Any:
        if name not in self._containers:
            if name not in self._client:
                with contextlib.suppress(httpx.HTTPStatusError):  # another process was first; read below
                    self._client.create_container(name, specs=[_RUNS])
            self._containers[name] = self._client[name]
        return self._containers[name]

    def _refuse_repetition(self, request: httpx.Request) -> None:
        """Keep rows from doubling: after an error the writer sends them again; the server may have them."""
        if request.method == "PATCH" and "/table/partition/" in request.url.path:
            append = hashlib.sha256(request.url.raw_path + request.read()).digest()
            if append == self._last_append:
                raise _RepeatedError
            self._last_append = append


def _tiled_writer(container: Any, batch_size: int) -> TiledWriter:
    """Every array as an array: from a table a small one comes back as text, two dimensions are refused."""
    return TiledWriter(container, batch_size=batch_size, max_array_size=0)


class RunWriter:
    """Writes one run's documents to the server."""

    def __init__(self, writer: TiledWriter) -> None:
        self._writer = writer
        self._complete_dtypes = DtypeCompleter()

    def write(self, name: str, doc: dict[str, Any]) -> None:
        """Write one document. When a stop document has been written, the server has everything.

        Raises
        ------
        UnavailableError, FailedError, RefusedError
            The run is not complete on the server: see there.
        """
        with _meaning_of_errors(RefusedError):
            for document in self._complete_dtypes(name, doc):
                self._writer(*document)


@contextlib.contextmanager
def _meaning_of_errors(otherwise: type[Exception]) -> Iterator[None]:
    """Turn what the Tiled client or writer raises into one of the three errors; the rest is `otherwise`."""
    try:
        yield
    except httpx.TransportError as error:
        raise UnavailableError(f"no answer ({error or type(error).__name__})") from error
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        if code == httpx.codes.UNAUTHORIZED:
            raise UnavailableError("the server refuses the API key (401); check the key") from error
        if code >= httpx.codes.INTERNAL_SERVER_ERROR or code in _TRY_AGAIN:
            raise FailedError(_one_line(error)) from error
        raise otherwise(_one_line(error)) from error
    except _RepeatedError as error:
        raise FailedError("the answer to an append was lost") from error
    except OSError as error:
        # The system's faults (a disk, too many files) pass. Readers of files raise it for content, too.
        fault = otherwise if error.errno is None else FailedError
        raise fault(f"{type(error).__name__}: {_one_line(error)}") from error
    except Exception as error:
        # The writer raises whatever numpy, pyarrow or jsonschema raise about a document it cannot take.
        raise otherwise(f"{type(error).__name__}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
