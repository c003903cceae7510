"""How raw frames lie in a Zarr v3 group: names, shapes, chunks and codecs; the metadata are zarr's own."""

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray
from zarr.codecs import BloscCodec
from zarr.storage import MemoryStore

from ._hashed_file import HashedFile, ShardFile

# Photon counts: most bit planes are empty, and lz4 keeps up with the detector.
_encode = numcodecs.Blosc(cname="lz4", clevel=1, shuffle=numcodecs.Blosc.BITSHUFFLE).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayLayout:
    """An array of the group.

    Parameters
    ----------
    name
        Its path in the group.
    shape
        Of an entry: () for scalars.
    block
        Entries in a file.
    chunk
        Entries that are compressed together, in a shard of `block`; None: the whole file is one chunk.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DTypeLike
    block: int
    chunk: int | None = None

    def create(self, group: zarr.Group, length: int) -> None:
        """Write its metadata for so many entries."""
        file = (self.block, *self.shape)
        group.create_array(
            self.name,
            shape=(length, *self.shape),
            chunks=file if self.chunk is None else (self.chunk, *self.shape),
            shards=None if self.chunk is None else file,
            dtype=self.dtype,
            compressors=BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle"),
            # One folder for all files of an array, however many there are.
            chunk_key_encoding={"name": "default", "separator": "."},
            # A chunk of zeros is a file, too: one that is missing was lost.
            config={"write_empty_chunks": True},
        )

    def file(self, folder: Path, number: int) -> Path:
        """Where a block's entries lie, in the group's folder."""
        return folder / self.name / f"c.{number}{'.0' * len(self.shape)}"


def metadata(
    layouts: Mapping[ArrayLayout, int], attributes: Mapping[str, Mapping[str, Any]]
) -> dict[str, bytes]:
    """The group's metadata files by their path, for arrays of a length and sub-groups with attributes."""
    files: dict[str, Any] = {}
    root = zarr.create_group(MemoryStore(files))
    for name, values in attributes.items():
        root.create_group(name, attributes=dict(values))
    for layout, length in layouts.items():
        layout.create(root, length)
    return {path: content.to_bytes() for path, content in files.items()}


class ColumnWriter:
    """Writes an array of small entries, a file a block."""

    def __init__(self, layout: ArrayLayout, folder: Path) -> None:
        self.layout = layout
        self._folder = folder
        self._buffer: NDArray[Any] = np.zeros((layout.block, *layout.shape), layout.dtype)
        self._filled = 0
        self._blocks = 0

    def append(self, entries: NDArray[Any]) -> None:
        """Take entries that fit the block."""
        stop = self._filled + len(entries)
        self._buffer[self._filled : stop] = entries
        self._filled = stop

    def finish_block(self) -> HashedFile:
        """The block's file, to be published."""
        self._buffer[self._filled :] = 0
        file = HashedFile(self.layout.file(self._folder, self._blocks))
        try:
            file.write(_encode(self._buffer))
        except BaseException:
            file.abandon()
            raise
        self._filled, self._blocks = 0, self._blocks + 1
        return file


class ShardWriter:
    """Writes an array chunk by chunk, a shard a block; chunks are compressed by a pool.

    zarr's own writer takes a shard as a whole: it holds all of its pixels, and reaches less than half the
    rate (``make bench``).
    """

    def __init__(self, layout: ArrayLayout, folder: Path, pool: Executor, workers: int) -> None:
        self.layout = layout
        self._folder = folder
        self._pool = pool
        self._depth = 2 * workers  # bounds the encoded chunks in memory
        self._encoding: deque[Future[bytes]] = deque()
        self._file: ShardFile | None = None
        self._blocks = 0

    def put(self, chunk: NDArray[Any]) -> None:
        """Append a chunk, which must not change until `drain`."""
        if self._file is None:
            self._file = self._new_file()
        self._encoding.append(self._pool.submit(_encode, chunk))
        while len(self._encoding) > self._depth:
            self._file.put(self._encoding.popleft().result())

    def drain(self) -> None:
        """Write the chunks that are being compressed."""
        while self._encoding and self._file is not None:
            self._file.put(self._encoding.popleft().result())

    def finish_block(self) -> HashedFile:
        """The block's shard, to be published."""
        self.drain()
        file = self._file or self._new_file()
        self._file, self._blocks = None, self._blocks + 1
        return file

    def abandon(self) -> None:
        """Leave nothing of the open block."""
        for future in self._encoding:
            future.cancel()
        if self._file is not None:
            self._file.abandon()

    def _new_file(self) -> ShardFile:
        chunks = -(-self.layout.block // (self.layout.chunk or self.layout.block))
        return ShardFile(self.layout.file(self._folder, self._blocks), chunks)
