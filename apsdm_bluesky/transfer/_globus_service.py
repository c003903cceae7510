"""The calls to Globus Transfer that are needed, with errors that a caller of this package knows."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apsdm_bluesky.config import GlobusConfig
from apsdm_bluesky.errors import FormatError, ServiceError

from ._globus_errors import is_missing, login_needed, reason_of, refusal
from ._globus_login import open_client
from ._globus_session import GlobusSession

if TYPE_CHECKING:
    from globus_sdk import TransferClient  # noqa: F401  (the name is a text)

_EVENTS = 20
_TASKS = 100
_PAGE = 1000


class ExistsError(Exception):
    """The new name of a rename is taken."""


class MissingError(Exception):
    """The file to be renamed is not there."""


class ConflictError(Exception):
    """A task that moves the same files is under way."""


class GlobusService(GlobusSession["TransferClient"]):
    """Globus Transfer, see `GlobusSession` for the errors of every method."""

    def __init__(self, config: GlobusConfig, folder: Path) -> None:
        super().__init__(
            lambda: open_client(config, folder),
            lambda error, subject: refusal(error, login=config.login, subject=subject),
            lambda reason: login_needed(reason, config.login),
            folder=folder,
        )

    def new_submission_id(self) -> str:
        """An id under which one task is made, however often it is submitted."""
        with self.asking("new submission id") as client:
            return _text(client.get_submission_id(), "value")

    def submit(self, data: Any) -> str:
        """Make the task of a `TransferData`, or find it again by its submission id; returns the task's id.

        Raises
        ------
        ConflictError
            Another submission for the same files is under way.
        """
        import globus_sdk

        with self.asking(f"task {data['label']!r}") as client:
            try:
                return _text(client.submit_transfer(data), "task_id")
            except globus_sdk.TransferAPIError as error:
                if str(error.code).endswith("Conflict"):
                    raise ConflictError(reason_of(error)) from error
                raise

    def remove(self, submission_id: str, collection: str, paths: list[str]) -> str:
        """Have files removed; returns the task's id. What is not there is no error."""
        import globus_sdk

        data = globus_sdk.DeleteData(
            endpoint=collection,
            submission_id=submission_id,
            ignore_missing=True,
            notify_on_succeeded=False,
            notify_on_failed=False,
            notify_on_inactive=False,
        )
        for path in paths:
            data.add_item(path)
        with self.asking(f"removal of {paths[0]}") as client:
            return _text(client.submit_delete(data), "task_id")

    def find(self, submission_id: str) -> str | None:
        """The id of the task with this submission id in its label, among the newest."""
        with self.asking(f"list of tasks for {submission_id}") as client:
            found = client.task_list(limit=_TASKS, orderby="request_time DESC", filter={"type": "TRANSFER"})
            for task in _documents(found):
                if submission_id in (str(task.get("submission_id")), *str(task.get("label")).split()):
                    return _text(task, "task_id")
        return None

    def task(self, task_id: str) -> dict[str, Any] | None:
        """The task's document; None where Globus does not know it (any more)."""
        import globus_sdk

        with self.asking(f"task {task_id}") as client:
            try:
                return _document(client.get_task(task_id))
            except globus_sdk.TransferAPIError as error:
                if is_missing(error):
                    return None
                raise

    def events(self, task_id: str) -> list[dict[str, Any]]:
        """The newest events of a task, whatever they hold."""
        with self.asking(f"events of task {task_id}") as client:
            return _documents(client.task_event_list(task_id, limit=_EVENTS))

    def cancel(self, task_id: str) -> None:
        """Ask a task to end; one that ended stays as it is."""
        import globus_sdk

        with self.asking(f"cancelling task {task_id}") as client:
            try:
                client.cancel_task(task_id)
            except globus_sdk.TransferAPIError as error:
                if not is_missing(error):
                    raise

    def stat(self, collection: str, path: str) -> int | None:
        """The size of a file in bytes; None where there is none.

        Raises
        ------
        FormatError
            It is no plain file.
        """
        import globus_sdk

        with self.asking(path) as client:
            try:
                found = _document(client.operation_stat(collection, path))
            except globus_sdk.TransferAPIError as error:
                if is_missing(error):
                    return None
                raise
        if found.get("type", "file") != "file":
            raise FormatError(f"{path}: is no plain file at the destination; move it away, then retry")
        return _size(found, path)

    def list_folder(self, collection: str, path: str) -> Iterator[tuple[str, int | None]]:
        """Names in a folder that are not hidden: sizes of files [bytes], None of folders; no links.

        Nothing where there is no such folder.
        """
        for offset in itertools.count(0, _PAGE):
            page = self._page(collection, path, offset)
            for entry in page:
                if entry.get("type") == "dir":
                    yield _name(entry, path), None
                elif entry.get("type") == "file":
                    yield _name(entry, path), _size(entry, path)
            if len(page) < _PAGE:
                return

    def _page(self, collection: str, path: str, offset: int) -> list[dict[str, Any]]:
        """Entries of a folder from the `offset`-th on."""
        import globus_sdk

        with self.asking(path) as client:
            try:
                return _documents(
                    client.operation_ls(
                        collection, path, show_hidden=False, orderby="name", limit=_PAGE, offset=offset
                    )
                )
            except globus_sdk.TransferAPIError as error:
                if is_missing(error) or str(error.code).endswith("NotDirectory"):
                    return []
                raise

    def rename(self, collection: str, old: str, new: str) -> None:
        """Give a file another name.

        Raises
        ------
        ExistsError
            The new name is taken.
        MissingError
            There is no file of the old name; a rename whose answer was lost may have been done.
        """
        import globus_sdk

        with self.asking(new) as client:
            try:
                client.operation_rename(collection, old, new)
            except globus_sdk.TransferAPIError as error:
                if str(error.code).endswith("Exists"):
                    raise ExistsError(new) from error
                if is_missing(error):
                    raise MissingError(old) from error
                raise

    def collection(self, collection: str) -> dict[str, Any]:
        """The document of a collection."""
        with self.asking(f"collection {collection}") as client:
            return _document(client.get_endpoint(collection))


def _document(response: Any) -> dict[str, Any]:
    data = response.data
    if not isinstance(data, dict):
        raise ServiceError("Globus answers with no JSON object; asked again later")
    return data


def _documents(response: Any) -> list[dict[str, Any]]:
    found = _document(response).get("DATA")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _name(document: dict[str, Any], folder: str) -> str:
    name = _text(document, "name")
    if "/" in name or "\0" in name:
        raise ServiceError(f"{folder}: Globus tells a file of the name {name!r}; asked again later")
    return name


def _size(document: dict[str, Any], path: str) -> int:
    size = document.get("size")
    if not isinstance(size, int):
        raise ServiceError(f"{path}: Globus tells no size; asked again later")
    return size


def _text(response: Any, key: str) -> str:
    data = response if isinstance(response, dict) else _document(response)
    value = data.get(key)
    if not isinstance(value, str) or not value:
        raise ServiceError(f"Globus answers without {key!r}; asked again later")
    return value
