"""The files of a job's results, each by what tells it from another one."""

import hashlib
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from apsdm_bluesky.errors import StorageError, WorkflowError
from apsdm_bluesky.workflows._output_file import open_output

_CHUNK = 4 << 20


class ResultFiles:
    """Reads files until a budget is spent; then it tells their sizes alone.

    Parameters
    ----------
    budget
        Bytes that are read at most, of all files together; None: all.
    most
        Files of a job at most; None: any number.
    """

    def __init__(self, budget: int | None, most: int | None) -> None:
        self._budget = budget
        self._most = most

    def of(self, folder: Path) -> dict[str, str]:
        """The path of each below the job's folder, and what is there. Links are told, not followed.

        Raises
        ------
        StorageError
            A file cannot be read.
        WorkflowError
            There are more than `most`.
        """
        paths = list(islice(_paths(folder), None if self._most is None else self._most + 1))
        if self._most is not None and len(paths) > self._most:
            raise WorkflowError(f"{folder} has more than {self._most} files: use 'apsdm job compare'")
        told = ((path, self._content(path)) for path in sorted(paths))
        return {_name(path.relative_to(folder)): content for path, content in told if content is not None}

    def _content(self, path: Path) -> str | None:
        """None where it is gone by now."""
        if path.is_symlink():
            return f"link to {_name(path.readlink())}"
        if path.exists() and not path.is_file():
            return "no file"
        file = open_output(path)
        if file is None:
            return None
        with file:
            size = os.fstat(file.fileno()).st_size
            if self._budget is not None:
                if size > self._budget:
                    return f"{size} bytes"
                self._budget -= size
            digest = hashlib.sha256()
            try:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                return f"{size} bytes, sha256 {digest.hexdigest()}"
            except OSError as error:
                raise StorageError(f"{path}: {error.strerror}; look at the disk") from error


def _paths(folder: Path) -> Iterator[Path]:
    """Hidden folders of a job hold its processes."""
    for result in folder.glob("[!.]*"):
        if result.is_symlink() or not result.is_dir():
            yield result
            continue
        for path in result.rglob("*"):
            if path.is_symlink() or not path.is_dir():
                yield path


def _name(path: Path) -> str:
    """As text that can be shown: names need not be UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
