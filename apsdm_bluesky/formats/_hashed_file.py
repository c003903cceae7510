"""Files that are hashed while they are written and have their name only once they are whole on the disk."""

import hashlib
import os
from collections.abc import Collection
from pathlib import Path

import google_crc32c
import numpy as np

from apsdm_bluesky.durable import sync
from apsdm_bluesky.model import StoredFile

_ABSENT = np.iinfo(np.uint64).max  # a chunk of fill values, in the index of a shard


class HashedFile:
    """A new file that takes its name at `publish`; until then it is hidden beside it.

    Raises
    ------
    OSError
        It cannot be written, in every method.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._sha256 = hashlib.sha256()
        self._part = path.with_name(f".{path.name}.part")
        self._file = self._part.open("wb", buffering=0)

    def write(self, data: bytes) -> None:
        """Append."""
        self._sha256.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:  # a disk that gets full takes a part, and refuses the next
            view = view[self._file.write(view) :]

    def finish(self) -> None:
        """Bring the whole of it to the disk."""
        os.fsync(self._file.fileno())
        self._file.close()

    def publish(self) -> StoredFile:
        """Give a finished file its name."""
        self._part.replace(self.path)
        return StoredFile(path=self.path, size=self.size, sha256=self._sha256.hexdigest())

    def abandon(self) -> None:
        """Leave nothing of it, unless it has its name."""
        self._file.close()
        self._part.unlink(missing_ok=True)


class ShardFile(HashedFile):
    """A shard of a Zarr v3 array, appended chunk by chunk: the encoded chunks, then where each one lies.

    The layout is the one of Zarr's `sharding_indexed` codec with its index at the end, as zarr writes it:
    (offset, length) of each chunk in 64-bit little endian, followed by their CRC32C.

    Parameters
    ----------
    chunks
        Chunks in a whole shard. Those that are not put hold the fill value.
    """

    def __init__(self, path: Path, chunks: int) -> None:
        super().__init__(path)
        self._index = np.full((chunks, 2), _ABSENT, "<u8")
        self._chunks = 0

    def put(self, encoded: bytes) -> None:
        """Append the next chunk."""
        self._index[self._chunks] = self.size, len(encoded)
        self._chunks += 1
        self.write(encoded)

    def finish(self) -> None:
        """Append the index and bring the file to the disk."""
        index = self._index.tobytes()
        self.write(index + google_crc32c.value(index).to_bytes(4, "little"))
        super().finish()


def publish_all(files: Collection[HashedFile]) -> list[StoredFile]:
    """Finish and publish files; none has its name before all are whole. Their names: `sync_names`."""
    for file in files:
        file.finish()
    return [file.publish() for file in files]


def sync_names(files: Collection[HashedFile]) -> None:
    """Bring the names of files to the disk."""
    for folder in {file.path.parent for file in files}:
        sync(folder)
