"""Raw frames on disk: a Zarr v3 group that grows by whole chunks."""

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray
from zarr.codecs import BloscCodec

from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.model import FrameBatch

# About 16 MB uncompressed a chunk: few files, and slices of single frames stay cheap.
_CHUNK_BYTES = 16 * 2**20
_CHUNK_FRAMES = 64


class ZarrFrameWriter:
    """Writes the frames of one acquisition to the Zarr group `path`.

    Row n of every array belongs to the n-th accepted frame: ``image`` (n, ny, nx), ``frame_index`` (n,)
    int64 (the frame's place in the acquisition, so a gap shows), ``timestamp`` (n,) float64 [s since the
    Unix epoch].

    Parameters
    ----------
    path
        A new folder.
    frame_shape, dtype
        (ny, nx) and type of a frame.
    expected
        Frames asked for: the arrays' length until `close` cuts it to what came.
    image
        False leaves the pixels out and keeps the two small arrays.

    Raises
    ------
    StorageError
        The folder cannot be written: no permission, no space.
    """

    def __init__(
        self, path: Path, *, frame_shape: tuple[int, int], dtype: DTypeLike, expected: int, image: bool
    ) -> None:
        self.path = path
        self.chunk_frames = chunk_frames(frame_shape, dtype, expected)
        self.durable = 0
        self._pending = 0
        types: dict[str, tuple[tuple[int, ...], DTypeLike]] = {
            "frame_index": ((), np.int64),
            "timestamp": ((), np.float64),
        }
        if image:
            types["image"] = (frame_shape, dtype)
        self._buffers: dict[str, NDArray[Any]] = {
            key: np.empty((self.chunk_frames, *shape), kind) for key, (shape, kind) in types.items()
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            group = zarr.create_group(store=str(path))
            self._arrays = {
                key: group.create_array(
                    key,
                    shape=(expected, *buffer.shape[1:]),
                    chunks=buffer.shape,
                    dtype=buffer.dtype,
                    # Photon counts: most bit planes are empty, and lz4 keeps up with the detector.
                    compressors=BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle"),
                    # A chunk of dark frames is a file too: one that is missing was lost.
                    config={"write_empty_chunks": True},
                )
                for key, buffer in self._buffers.items()
            }
        except OSError as error:
            raise self._failure(error) from error

    def append(self, batch: FrameBatch) -> None:
        """Take frames; whole chunks are written at once and counted in `durable`."""
        rows = {"image": batch.frames, "frame_index": batch.indices, "timestamp": batch.timestamps}
        taken = 0
        while taken < len(batch):
            count = min(self.chunk_frames - self._pending, len(batch) - taken)
            for key, buffer in self._buffers.items():
                buffer[self._pending : self._pending + count] = rows[key][taken : taken + count]  # type: ignore[index]
            taken += count
            self._pending += count
            if self._pending == self.chunk_frames:
                self._flush()

    def close(self) -> None:
        """Write what is left and cut the arrays to the frames that came."""
        self._flush()
        try:
            for array in self._arrays.values():
                array.resize((self.durable, *array.shape[1:]))
        except OSError as error:
            raise self._failure(error) from error

    def _flush(self) -> None:
        if not self._pending:
            return
        stop = self.durable + self._pending
        try:
            for key, array in self._arrays.items():
                array[self.durable : stop] = self._buffers[key][: self._pending]
        except OSError as error:
            raise self._failure(error) from error
        self.durable, self._pending = stop, 0

    def _failure(self, error: OSError) -> StorageError:
        return StorageError(f"raw frames cannot be written to {self.path}: {error.strerror or error}")


def chunk_frames(frame_shape: tuple[int, int], dtype: DTypeLike, expected: int) -> int:
    """Frames in a chunk of the arrays that `ZarrFrameWriter` makes."""
    fitting = _CHUNK_BYTES // (int(np.prod(frame_shape)) * np.dtype(dtype).itemsize)
    return max(1, min(_CHUNK_FRAMES, fitting, expected))
