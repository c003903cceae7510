"""Raw frames of a device: written by a lane, announced by Bluesky's stream documents."""

import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from event_model import compose_stream_resource

from apsdm_bluesky.formats import Layout, RawWriter, check_storable, storable
from apsdm_bluesky.model import AcquisitionLedger, Batch, ConsumerLedger, StoredFile
from apsdm_bluesky.streaming import AcquisitionInfo

# Event stream key suffix -> member of the Zarr group.
_MEMBERS = {"image": "image", "events": "image", "frame_index": "frame_index", "frame_timestamp": "timestamp"}
_ZARR = "application/x-zarr"
_FETCH_BYTES = 32 * 2**20  # of pixels, that a client fetches at once

FileRow = tuple[str, int, str]  # path under the raw folder, bytes, sha256


class RawStorage:
    """A consumer that writes frames, and the documents that tell where they are.

    Parameters
    ----------
    device_name
        Prefix of the data keys.
    root, path
        The raw folder, and in it the Zarr group to be made.
    info
        Of the acquisition.
    layout
        How pixels are stored; ``auto``: as the first frames suggest; None: only the frames' indices and time
        stamps are.

    Raises
    ------
    StorageError
        ``events``, and this type of pixel cannot be stored so.
    """

    def __init__(
        self,
        device_name: str,
        path: Path,
        info: AcquisitionInfo,
        *,
        root: Path,
        layout: Literal["auto", "dense", "events"] | None,
    ) -> None:
        if layout == "auto" and info.events and storable(info.dtype):
            layout = "events"
        if layout == "events":
            check_storable(info.dtype)
        self.name = f"{device_name} storage"
        self.path = path
        self.info = info
        self._device_name = device_name
        self._root = root
        self._layout = layout
        self._writer: RawWriter | None = None
        self._announced = 0
        self._told = 0  # files
        self._bundles: list[Any] = []

    def describe(self) -> dict[str, dict[str, Any]]:
        """The data keys: all external, one row a frame."""
        dtype = np.dtype(self.info.dtype).newbyteorder("<").str
        pixels = (list(self.info.frame_shape), dtype, ["y", "x"])
        keys: dict[str, tuple[list[int], str, list[str]]] = {
            **({"image": pixels} if self._layout else {}),
            **({"events": pixels} if self._layout == "events" else {}),
            "frame_index": ([], "<i8", []),
            "frame_timestamp": ([], "<f8", []),
        }
        return {
            f"{self._device_name}_{key}": {
                "source": f"file://localhost{self.path}",
                "dtype": "array" if shape else "number",
                "dtype_numpy": dtype,
                "shape": shape,
                "dims": dims,
                "external": "STREAM:",
            }
            for key, (shape, dtype, dims) in keys.items()
        }

    def documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The stream documents that are due: for rows that are closed on disk and not yet announced.

        Each stream_datum tells in `files` what was written of its array since the one before: rows of
        [path under the raw folder, bytes, sha256].
        """
        writer, durable = self._writer, self.durable
        if writer is None or durable == self._announced:
            return
        if not self._bundles:
            for key in self.describe():
                bundle = self._compose(key, writer.layout, writer.block)
                self._bundles.append(bundle)
                yield "stream_resource", bundle.stream_resource_doc
        files = writer.block_files[self._told :]
        for bundle in self._bundles:
            datum = bundle.compose_stream_datum(indices={"start": self._announced, "stop": durable})
            yield (
                "stream_datum",
                {**datum, "files": self._files_of(bundle.stream_resource_doc["data_key"], files)},
            )
        self._told += len(files)
        self._announced = durable

    @property
    def durable(self) -> int:
        """Rows that are complete on the disk."""
        return self._writer.durable if self._writer else 0

    @property
    def announced(self) -> int:
        """Rows told to the run so far."""
        return self._announced

    @property
    def files(self) -> list[FileRow]:
        """Every file of the rows that are durable, and the metadata; none where no row tells of them."""
        return self._rows(self._writer.files if self._writer and self._writer.durable else ())

    def begin(self, info: AcquisitionInfo) -> None:
        """Make the folder."""
        self._writer = RawWriter(
            self.path,
            frame_shape=info.frame_shape,
            dtype=info.dtype,
            expected=info.expected,
            period_s=info.period_s,
            layout=self._layout,
        )

    def consume(self, batch: Batch) -> None:
        """Write frames."""
        if self._writer is not None:
            self._writer.append(batch)

    def end(self, acquisition: AcquisitionLedger, fate: ConsumerLedger) -> None:  # noqa: ARG002 - protocol
        """Close the arrays; after a failure, leave what is complete."""
        if self._writer is None:
            return
        if fate.failed:
            self._writer.abandon()
        else:
            self._writer.close()

    def _compose(self, data_key: str, layout: Layout | None, block: int) -> Any:
        key = self._key(data_key)
        mimetype, at_once = _ZARR, block
        if key in ("image", "events"):
            frame_bytes = int(np.prod(self.info.frame_shape)) * np.dtype(self.info.dtype).itemsize
            at_once = max(1, min(self.info.expected, _FETCH_BYTES // frame_bytes))
        if key == "events":
            mimetype = f"{_ZARR};structure=sparse"
        elif key == "image" and layout == "events":
            mimetype = f"{_ZARR};structure=events"
        return compose_stream_resource(
            mimetype=mimetype,
            uri=f"file://localhost{self.path}/{_MEMBERS[key]}",
            data_key=data_key,
            parameters={"chunk_shape": [at_once]},
            uid=str(uuid.uuid4()),
        )

    def _files_of(self, data_key: str, files: Iterable[StoredFile]) -> list[FileRow]:
        """Those of a data key's array; events and image are the same ones, told once."""
        key = self._key(data_key)
        folder = self.path / _MEMBERS[key]
        return self._rows(file for file in files if key != "events" and file.path.is_relative_to(folder))

    def _key(self, data_key: str) -> str:
        return data_key.removeprefix(f"{self._device_name}_")

    def _rows(self, files: Iterable[StoredFile]) -> list[FileRow]:
        return [(file.path.relative_to(self._root).as_posix(), file.size, file.sha256) for file in files]
