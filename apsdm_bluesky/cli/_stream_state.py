"""What a stream group leaves in the state folder: its lock, its status, the results of its series."""

import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np

from apsdm_bluesky.config import StateFolders
from apsdm_bluesky.errors import LockedError, StorageError
from apsdm_bluesky.spool import write_durably

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from apsdm_bluesky.reduction import SeriesResult

_PATIENCE_S = 1.0


class StateFile:
    """One group a state folder: its lock, and what it tells while it runs."""

    def __init__(self, folders: StateFolders) -> None:
        self.path = folders.stream / "status.json"
        self._lock = filelock.FileLock(folders.stream / "stream.lock", thread_local=False)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the group of this folder, and tell so at once: what is there tells of a process that is gone.

        Raises
        ------
        LockedError
            Another group runs here.
        StorageError
            The folder cannot be written.
        """
        make_folder(self.path.parent)
        try:
            self._lock.acquire(timeout=_PATIENCE_S)
        except filelock.Timeout as error:
            holder = self.read().get("pid", "unknown")
            raise LockedError(
                f"{self.path.parent}: a stream group runs here already (pid {holder}); "
                "end it with 'apsdm stream stop'"
            ) from error
        except OSError as error:
            raise _unwritable(self.path.parent, error) from error
        try:
            self.write({"state": "starting", "pid": os.getpid()})
            yield
        finally:
            self._lock.release()

    def runs(self) -> bool:
        """Whether a group runs."""
        if not self.path.exists():
            return False
        try:
            with self._lock.acquire(timeout=0):
                return False
        except filelock.Timeout:
            return True

    def write(self, status: dict[str, Any]) -> None:
        """Replace what is told."""
        write_json(self.path, status)

    def read(self) -> dict[str, Any]:
        """What the last group told; empty where there is none."""
        try:
            return dict(json.loads(self.path.read_bytes()))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise StorageError(f"{self.path}: cannot be read ({error}); remove it") from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises
    ------
    StorageError
        It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a whole file or none."""
    write_durably(path, json.dumps(content, indent=1).encode())


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path}: cannot be written ({error.strerror}); free space or give permission there")


def write_result(path: Path, result: "SeriesResult") -> None:
    """Write the numbers of a result as .npz, under the names that they have in Python."""
    arrays = {
        **_arrays("multitau", result.multitau),
        **_arrays("saxs", result.saxs),
        **_arrays("stats", result.stats),
        **_arrays("decays", result.decays),
        "mask": result.qmap.dynamic > 0,
        "hot_pixels": result.hot_pixels,
        "q": result.qmap.q,
        "sha256": np.asarray(result.sha256),
    }
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    write_durably(path, file.getvalue())


def _arrays(part: str, values: "DataclassInstance") -> dict[str, Any]:
    """The fields that are numbers (a part that was not asked for is None)."""
    named = {field.name: getattr(values, field.name) for field in fields(values)}
    return {f"{part}_{name}": np.asarray(value) for name, value in named.items() if value is not None}
