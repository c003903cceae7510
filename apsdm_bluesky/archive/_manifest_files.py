"""The manifests of bundles on this side; one that is not here is fetched."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from apsdm_bluesky.durable import make_folder
from apsdm_bluesky.errors import ApsdmError, StorageError
from apsdm_bluesky.model import Manifest
from apsdm_bluesky.transfer import Direction, TaskStatus, Transfer, TransferItem, TransferRequest

from ._bundle import manifest_path
from ._manifest import decode_manifest
from ._record import Record


class ManifestFiles:
    """Gives the manifests that the ledger's digests belong to, and no other.

    Parameters
    ----------
    folder
        Where they lie.
    transfers
        By the name of their collection.
    """

    def __init__(self, folder: Path, transfers: Mapping[str, Transfer]) -> None:
        self._folder = folder
        self._transfers = transfers
        self._tasks: dict[str, str] = {}

    def get(self, record: Record) -> Manifest | None:
        """The manifest of a bundle; None while it is being fetched: ask again.

        Raises
        ------
        StorageError
            What lies in its place is something else.
        ApsdmError
            It cannot be fetched.
        FormatError
            It is of a later schema.
        """
        path = self._folder / manifest_path(Path(str(record.destination)).name)
        if not path.is_file():
            self._fetch(record, path)
            return None
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != record.manifest_sha256:
            raise StorageError(
                f"{path}: is not the manifest that the ledger tells of; move it away, it is fetched again"
            )
        self._tasks.pop(record.uid, None)
        return decode_manifest(data)

    def _fetch(self, record: Record, path: Path) -> None:
        """A lost submission id is harmless here: another task brings the same small file."""
        transfer = self._transfers.get(record.collection)
        if transfer is None:
            raise ApsdmError(f"no collection {record.collection!r} is configured; add it")
        task_id = self._tasks.get(record.uid)
        if task_id is None:
            make_folder(self._folder)
            item = TransferItem(local=path, remote=manifest_path(str(record.destination)))
            request = TransferRequest(
                submission_id=transfer.new_submission_id(),
                direction=Direction.FETCH,
                items=(item,),
                label=f"manifest of bundle {record.uid}",
            )
            self._tasks[record.uid] = transfer.submit(request)
            return
        report = transfer.status(task_id)
        if report is None or report.status in (TaskStatus.FAILED, TaskStatus.SUCCEEDED):
            del self._tasks[record.uid]  # where it succeeded, but the file is not there: again
        if report is not None and report.status is TaskStatus.FAILED:
            raise StorageError(f"the manifest of bundle {record.uid} cannot be fetched: {report.detail}")
