"""Raw frames of a device: written by a lane, announced by Bluesky's stream documents."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from event_model import compose_stream_resource

from apsdm_bluesky.formats import ZarrFrameWriter, chunk_frames
from apsdm_bluesky.model import AcquisitionLedger, Batch, ConsumerLedger, FrameBatch
from apsdm_bluesky.reduction import unpack_events
from apsdm_bluesky.streaming import AcquisitionInfo

# Event stream key suffix -> array in the Zarr group.
_ARRAYS = {"image": "image", "frame_index": "frame_index", "frame_timestamp": "timestamp"}


class ZarrStorage:
    """A consumer that writes frames, and the documents that tell where they are.

    Parameters
    ----------
    device_name
        Prefix of the data keys.
    path
        The Zarr group to be made.
    info
        Of the acquisition.
    image
        Whether pixels are stored, or the frames' indices and time stamps only.
    """

    def __init__(self, device_name: str, path: Path, info: AcquisitionInfo, *, image: bool) -> None:
        self.name = f"{device_name} storage"
        self.path = path
        self._device_name = device_name
        self.info = info
        self._image = image
        self._writer: ZarrFrameWriter | None = None
        self._announced = 0
        self._bundles: list[Any] = []

    def describe(self) -> dict[str, dict[str, Any]]:
        """The data keys: all external, one row a frame."""
        frame = {
            "image": (
                list(self.info.frame_shape),
                np.dtype(self.info.dtype).newbyteorder("<").str,
                ["y", "x"],
            )
        }
        scalars: dict[str, tuple[list[int], str, list[str]]] = {
            "frame_index": ([], "<i8", []),
            "frame_timestamp": ([], "<f8", []),
        }
        keys = {**(frame if self._image else {}), **scalars}
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
        """The stream documents that are due: for rows that are closed on disk and not yet announced."""
        durable = self._writer.durable if self._writer else 0
        if durable == self._announced:
            return
        if not self._bundles:
            for key in self.describe():
                bundle = self._compose(key)
                self._bundles.append(bundle)
                yield "stream_resource", bundle.stream_resource_doc
        for bundle in self._bundles:
            yield (
                "stream_datum",
                bundle.compose_stream_datum(indices={"start": self._announced, "stop": durable}),
            )
        self._announced = durable

    @property
    def announced(self) -> int:
        """Rows told to the run so far."""
        return self._announced

    def begin(self, info: AcquisitionInfo) -> None:
        """Make the arrays."""
        self._writer = ZarrFrameWriter(
            self.path,
            frame_shape=info.frame_shape,
            dtype=info.dtype,
            expected=info.expected,
            image=self._image,
        )

    def consume(self, batch: Batch) -> None:
        """Write frames."""
        if self._writer is not None:
            self._writer.append(batch if isinstance(batch, FrameBatch) else unpack_events(batch))

    def end(self, acquisition: AcquisitionLedger, fate: ConsumerLedger) -> None:  # noqa: ARG002 - protocol
        """Close the arrays."""
        if self._writer is not None and not fate.reason:
            self._writer.close()

    def _compose(self, key: str) -> Any:
        array = _ARRAYS[key.removeprefix(f"{self._device_name}_")]
        chunk = chunk_frames(self.info.frame_shape, self.info.dtype, self.info.expected)
        return compose_stream_resource(
            mimetype="application/x-zarr",
            uri=f"file://localhost{self.path}/{array}",
            data_key=key,
            parameters={"chunk_shape": [chunk]},
            uid=str(uuid.uuid4()),
        )
