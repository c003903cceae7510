"""Raw frames on disk: a Zarr v3 group that grows by whole blocks, each hashed and safe before it is told."""

import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from apsdm_bluesky.durable import make_folder
from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.model import Batch, EventBatch, FrameBatch, StoredFile

from ._events import check_storable, storable
from ._hashed_file import HashedFile, publish_all, sync_names
from ._pixels import DensePixels, EventPixels
from ._zarr_layout import ArrayLayout, ColumnWriter, metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._pixels import Pixels

Layout = Literal["dense", "events"]

# A block is a file of each array. Large ones are few; one is told to the run as a whole, so none takes long.
_BLOCK_BYTES = 256 * 2**20
_BLOCK_FRAMES = {"dense": 4096, "events": 8192}
_BLOCK_S = 2.0
_WORKERS = max(1, min(4, os.cpu_count() or 1))
# Below it events take at most half the disk of images (compressed alike), at about the same rate.
_SPARSE = 0.02


class RawWriter:
    """Writes the frames of one acquisition to the Zarr group `path`.

    Row n of every array belongs to the n-th accepted frame: ``image`` (n, ny, nx), or the group ``image`` of
    events that `EventStore` reads; ``frame_index`` (n,) int64 (the frame's place in the acquisition, so a gap
    shows); ``timestamp`` (n,) float64 [s since the Unix epoch].

    Rows are written block by block. A block is complete on the disk, and its files are hashed, before it
    counts in `durable`: that is done by a thread of the writer's own while the next block is filled.

    Parameters
    ----------
    path
        A new folder.
    frame_shape, dtype
        (ny, nx) and type of a frame.
    expected
        Frames asked for: the arrays' length until `close` cuts it to what came.
    period_s
        Time between frames [s], so that no block takes long; 0 where it is not known.
    layout
        Of the pixels; ``auto``: as the first frames suggest; None leaves them out and keeps the two small
        arrays.

    Attributes
    ----------
    durable
        Rows that are whole on the disk. It only grows, and after `close` or `abandon` it is final: the arrays
        have that length, whatever failed.

    Raises
    ------
    StorageError
        The folder cannot be written: no permission, no space. Or pixels that cannot be stored as events.
    """

    def __init__(
        self,
        path: Path,
        *,
        frame_shape: tuple[int, int],
        dtype: DTypeLike,
        expected: int,
        layout: Layout | Literal["auto"] | None,
        period_s: float = 0.0,
    ) -> None:
        if layout == "events":
            check_storable(dtype)
        self.path = path
        self.layout: Layout | None = None
        self.durable = 0
        self.block_files: list[StoredFile] = []
        self._metadata: list[StoredFile] = []
        self._frame_shape, self._dtype, self._period_s = frame_shape, np.dtype(dtype), period_s
        self._expected = expected
        self._rows = 0  # taken
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="compress")
        self._closer = ThreadPoolExecutor(1, thread_name_prefix="to-disk")
        self._closing: Future[None] | None = None
        self._pixels: Pixels | None = None
        self._columns: dict[str, ColumnWriter] = {}
        with self._storage_errors():
            make_folder(path, exist_ok=False)
            if layout != "auto":
                self._open(layout)

    @property
    def files(self) -> list[StoredFile]:
        """The metadata, as they stand on the disk, and the files of all blocks that are durable."""
        return [*self._metadata, *self.block_files]

    def append(self, batch: Batch) -> None:
        """Take frames. Whole blocks go to the disk."""
        place = 0
        with self._storage_errors():
            if not self._columns:
                self._open("events" if storable(self._dtype) and _sparse(batch) else "dense")
            while place < len(batch):
                count = min(self.block - self._rows % self.block, len(batch) - place)
                self._take(_part(batch, place, place + count))
                place += count
                if self._rows % self.block == 0:
                    self._finish_block()

    def close(self) -> None:
        """Write what is left and cut the arrays to the frames that came; after an error, `abandon`."""
        try:
            with self._storage_errors():
                self._finish()
        except BaseException:
            self.abandon()
            raise
        self._shut_down()

    def abandon(self) -> None:
        """After a failure: leave only what counts in `durable`, and cut the arrays to it."""
        self._shut_down()
        with self._storage_errors():
            if self._pixels is not None:
                self._pixels.abandon()
            if self._columns:
                self._write_metadata(self.durable)

    def _finish(self) -> None:
        if not self._columns:  # no frame came
            self._open("dense")
        if self._rows % self.block:
            self._finish_block()
        self._settle()
        if self.durable != self._expected:
            self._write_metadata(self.durable)

    def _open(self, layout: Layout | None) -> None:
        """Make the arrays."""
        self.layout = layout
        self.block = self._block_frames()
        if layout is not None:
            kind = DensePixels if layout == "dense" else EventPixels
            pixels = kind(self.path, self._frame_shape, self._dtype, self.block, self._workers, _WORKERS)
            self.block = pixels.block
            self._pixels = pixels
        self._columns = {
            name: ColumnWriter(ArrayLayout(name=name, shape=(), dtype=dtype, block=self.block), self.path)
            for name, dtype in (("frame_index", np.int64), ("timestamp", np.float64))
        }
        for array in self._layouts(0):
            (self.path / array.name).mkdir(parents=True)
        self._write_metadata(self._expected)

    def _block_frames(self) -> int:
        frames = _BLOCK_FRAMES[self.layout or "events"]
        if self.layout == "dense":
            frames = min(frames, _BLOCK_BYTES // (int(np.prod(self._frame_shape)) * self._dtype.itemsize))
        if self._period_s > 0:
            frames = min(frames, int(_BLOCK_S / self._period_s))
        return max(1, min(frames, self._expected))

    def _take(self, batch: Batch) -> None:
        if self._pixels is not None:
            self._pixels.append(batch)
        self._columns["frame_index"].append(batch.indices)
        if batch.timestamps is not None:
            self._columns["timestamp"].append(batch.timestamps)
        self._rows += len(batch)

    def _finish_block(self) -> None:
        """Have the block published; not before the one ahead of it."""
        self._settle()
        files: list[HashedFile] = []
        with _all_or_none(files):
            if self._pixels is not None:
                files.extend(self._pixels.finish_block())
            files.extend(column.finish_block() for column in self._columns.values())
        self._closing = self._closer.submit(self._make_durable, files, self._rows)

    def _make_durable(self, files: list[HashedFile], rows: int) -> None:
        with _all_or_none(files):
            try:
                stored = publish_all(files)
                sync_names(files)
            except BaseException:
                for file in files:
                    file.path.unlink(missing_ok=True)
                raise
        self.block_files += stored
        self.durable = rows

    def _settle(self) -> None:
        if self._closing is not None:
            self._closing.result()

    def _layouts(self, rows: int) -> dict[ArrayLayout, int]:
        """The arrays and their lengths for so many frames."""
        pixels = {} if self._pixels is None else self._pixels.layouts(rows)
        return {**{column.layout: rows for column in self._columns.values()}, **pixels}

    def _write_metadata(self, rows: int) -> None:
        attributes: dict[str, Mapping[str, Any]] = {}
        if self._pixels is not None and self._pixels.attributes is not None:
            attributes["image"] = self._pixels.attributes
        files: list[HashedFile] = []
        with _all_or_none(files):
            for name, content in metadata(self._layouts(rows), attributes).items():
                files.append(HashedFile(self.path / name))
                files[-1].write(content)
            self._metadata = publish_all(files)
            sync_names(files)

    def _shut_down(self) -> None:
        self._workers.shutdown(cancel_futures=True)
        self._closer.shutdown()

    @contextmanager
    def _storage_errors(self) -> "Iterator[None]":
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"raw frames cannot be written to {self.path}: {error.strerror or error}"
            ) from error


@contextmanager
def _all_or_none(files: list[HashedFile]) -> "Iterator[None]":
    """After an error none of the files is left unfinished."""
    try:
        yield
    except BaseException:
        for file in files:
            file.abandon()
        raise


def _sparse(batch: Batch) -> bool:
    """Whether the frames' pixels are so few that they are better stored as events."""
    return isinstance(batch, EventBatch) or bool(np.count_nonzero(batch.frames) < _SPARSE * batch.frames.size)


def _part(batch: Batch, start: int, stop: int) -> Batch:
    rows = slice(start, stop)
    timestamps = None if batch.timestamps is None else batch.timestamps[rows]
    if isinstance(batch, FrameBatch):
        return FrameBatch(frames=batch.frames[rows], indices=batch.indices[rows], timestamps=timestamps)
    return EventBatch(
        words=batch.words,
        offsets=batch.offsets[start : stop + 1],
        indices=batch.indices[rows],
        shape=batch.shape,
        timestamps=timestamps,
    )
