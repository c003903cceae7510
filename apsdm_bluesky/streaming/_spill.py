"""Batches on disk, first in first out, for a consumer that is slower than the detector for a while."""

import os
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.model import Batch

# A file goes when the batches in it have been read: small enough to give disk space back early, large enough
# for a long backlog in few open files.
_FILE_BYTES = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class SpilledBatch:
    """A batch on disk: where its arrays lie, and all of it that is no array.

    Parameters
    ----------
    count
        Frames in it.
    offset
        Of its first array in `file`; the others follow in their order.
    """

    files: "SpillFiles"
    kind: Callable[..., Batch]
    count: int
    file: IO[bytes]
    offset: int
    arrays: tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]
    others: dict[str, Any]

    def batch(self) -> Batch:
        """The batch as it was appended; its arrays are read-only.

        Raises
        ------
        StorageError
            The disk does not give it back.
        """
        found, offset = {}, self.offset
        try:
            for name, dtype, shape in self.arrays:
                found[name] = _read(self.file, np.empty(shape, dtype), offset)
                offset += found[name].nbytes
        except OSError as error:
            raise StorageError(
                f"{self.files.folder}: frames that were spilled there cannot be read "
                f"({error.strerror or error}); check the disk"
            ) from error
        return self.kind(**found, **self.others)

    def release(self) -> None:
        """It has been read, or will not be, and so have those appended before it."""
        self.files.release(self)


class SpillFiles:
    """Batches are appended by one thread, and read and released by another in the same order.

    The files have no name: they end with the process, however that ends.

    Parameters
    ----------
    folder
        On the disk to be used; made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: deque[IO[bytes]] = deque()  # that of the next batch to be released is the first
        self._end = 0  # of the last file

    def append(self, batch: Batch) -> SpilledBatch:
        """Write a batch.

        Raises
        ------
        OSError
            The disk is full or broken.
        """
        if not self._files or self._end >= _FILE_BYTES:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._files.append(tempfile.TemporaryFile(dir=self.folder, buffering=0))  # noqa: SIM115 - until `release`
            self._end = 0
        file, begin = self._files[-1], self._end
        values = {field.name: getattr(batch, field.name) for field in fields(batch)}
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        for array in arrays.values():
            self._end = _write(file, array, self._end)
        return SpilledBatch(
            files=self,
            kind=type(batch),
            count=len(batch),
            file=file,
            offset=begin,
            arrays=tuple((name, array.dtype, array.shape) for name, array in arrays.items()),
            others={name: value for name, value in values.items() if name not in arrays},
        )

    def release(self, spilled: SpilledBatch) -> None:
        """Give up the files before that of `spilled`."""
        while self._files[0] is not spilled.file:
            self._files.popleft().close()

    def close(self) -> None:
        """Give up what has not been read, and the disk space. Idempotent."""
        while self._files:
            self._files.popleft().close()


def _write(file: IO[bytes], array: NDArray[Any], offset: int) -> int:
    """Write all of it; returns where it ends."""
    left = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    while left:
        written = os.pwrite(file.fileno(), left, offset)
        left, offset = left[written:], offset + written
    return offset


def _read(file: IO[bytes], array: NDArray[Any], offset: int) -> NDArray[Any]:
    """Fill the array and make it read-only."""
    left = array.reshape(-1).view(np.uint8).data
    while left:
        read = os.preadv(file.fileno(), [left], offset)
        if read == 0:
            raise OSError("the file is too short")
        left, offset = left[read:], offset + read
    array.flags.writeable = False
    return array
