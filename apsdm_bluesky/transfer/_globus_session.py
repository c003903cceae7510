"""One login to a service of Globus, with errors that a caller of this package knows."""

import contextlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from apsdm_bluesky.errors import ApsdmError, StorageError

from ._globus_errors import Patience, is_passing, reason_of, retry_after_s

if TYPE_CHECKING:
    from globus_sdk import GlobusApp

Client = TypeVar("Client", bound=Any)


class GlobusSession(Generic[Client]):
    """One login to a service of Globus, opened with the first call.

    Threads may share it: one call is made at a time, so that a service in trouble is met once, not by each.

    Parameters
    ----------
    open_client
        Gives the application that logs in, and the client, which has a `close`.
    refusal
        The instruction for a person, of an error that does not pass by itself and of what the call was about.
    login_needed
        The same of a login that is missing; gets the reason.
    folder
        Where the tokens lie.
    """

    def __init__(
        self,
        open_client: "Callable[[], tuple[GlobusApp, Client]]",
        refusal: Callable[[Any, str], ApsdmError],
        login_needed: Callable[[str], ApsdmError],
        *,
        folder: Path,
    ) -> None:
        self._open, self._refusal, self._login_needed = open_client, refusal, login_needed
        self._folder = folder
        self._opened: tuple[GlobusApp, Client] | None = None
        self._patience = Patience()
        self._lock = threading.RLock()

    def close(self) -> None:
        """Close connections and the token store; the next call opens them again."""
        with self._lock:
            opened, self._opened = self._opened, None
            if opened is not None:
                app, client = opened
                client.close()
                app.close()

    @contextlib.contextmanager
    def asking(self, subject: str) -> Iterator[Client]:
        """The client, for one call about `subject`, with its errors translated.

        Raises
        ------
        ServiceError
            What passes by itself; says when it is tried again.
        StorageError
            Tokens cannot be kept.
        ApsdmError
            What does not pass by itself, with an instruction.
        """
        with self._lock, self._translated(subject):
            self._patience.check()
            if self._opened is None:
                self._opened = self._open()
            yield self._opened[1]
            self._patience.reset()

    @contextlib.contextmanager
    def _translated(self, subject: str) -> "Iterator[None]":
        """Errors of the SDK as those of this package."""
        import globus_sdk
        from globus_sdk.token_storage import TokenValidationError

        try:
            yield
        except globus_sdk.GlobusAPIError as error:
            if is_passing(error):
                raise self._patience.trouble(
                    f"{subject}: {reason_of(error)}", retry_after_s(error)
                ) from error
            self.close()  # a person may log in meanwhile: tokens are read anew with the next call
            raise self._refusal(error, subject) from error
        except TokenValidationError as error:
            self.close()
            raise self._login_needed(reason_of(error)) from error
        except globus_sdk.NetworkError as error:
            raise self._patience.trouble(f"{subject}: it does not answer ({reason_of(error)})") from error
        except (globus_sdk.GlobusError, json.JSONDecodeError) as error:
            raise self._patience.trouble(f"{subject}: answers unexpectedly ({reason_of(error)})") from error
        except sqlite3.Error as error:
            self.close()
            raise StorageError(
                f"{self._folder}: tokens cannot be kept ({error}); free space, or move tokens.db away"
            ) from error
