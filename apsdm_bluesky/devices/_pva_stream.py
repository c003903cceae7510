"""An areaDetector whose frames come over PVAccess: a classic ophyd flyer."""

import dataclasses
import datetime as dt
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from ophyd import Component as Cpt
from ophyd import Device
from ophyd.status import DeviceStatus

from apsdm_bluesky.config import Overflow
from apsdm_bluesky.errors import AcquisitionError
from apsdm_bluesky.formats import RECORDING_SUFFIX
from apsdm_bluesky.model import AcquisitionLedger, ConsumerLedger
from apsdm_bluesky.sources import FrameSource, PvaSource
from apsdm_bluesky.streaming import AcquisitionInfo, FrameStream, Lane, Ring

from ._acquisition import Acquisition
from ._arming import Arming
from ._ledger import Accounts, LedgerReadable
from ._points import PointCounts
from ._recording import StreamRecording
from ._records import CameraRecords, PvaPluginRecords
from ._storage import RawStorage

_NOTHING_STORED = ConsumerLedger(accepted=0, done=0, dropped=0)


class PvaStream(Device):
    """Takes frames from an areaDetector IOC without a file system between.

    In a fly scan (`kickoff`, `complete`, `collect`) it takes ``cam.num_images`` frames, gives them to the
    consumers attached to `frames`, stores them when `write_raw` is true, and keeps a ledger of every
    frame's fate, which reads as `ledger`. In a step scan (`trigger`, `read`) it takes ``cam.num_images``
    frames a point and reads their mean total counts; pixels are not stored then.

    Parameters
    ----------
    prefix
        The IOC's prefix, for instance ``8idLambda2m:``.
    pva_channel
        The NTNDArray channel; by default ``<prefix>Pva1:Image``.
    raw_root
        Folder for raw frames; the device makes a sub-folder a day.
    ring_mb
        Memory for frames between the network and the consumers [MiB].
    stall_timeout_s
        Give up when no frame came for so long (plus one frame period) [s].
    batch_age_s
        Frames wait no longer than this for a full batch [s].
    on_loss
        What missing frames do: ``mark`` tells in the ledger and the verdict, ``fail`` fails `complete` too.
    on_overflow
        When frames come faster than they are stored: ``block`` holds the source, ``spill`` writes the
        backlog to disk and catches up, ``drop`` leaves frames out and counts them.
    layout, frames_per_message
        What a message of the channel holds: images, or the packed events of images; and of how many.
    credit
        Messages that a publisher of ours may be ahead; 0: it does not wait for us (areaDetector never does).
    spill_folder
        Where consumers that ``spill`` write their backlog.
    write_raw
        Whether pixels are stored, or only the frames' indices and time stamps.
    raw_store
        How: as images, as events of non-zero pixels, or as the first frames' occupancy suggests.
    record
        Whether each acquisition's messages are recorded as they come, in a file beside the raw frames.
    source
        Where frames come from, in place of the PVA channel.
    """

    cam = Cpt(CameraRecords, "cam1:")
    pva = Cpt(PvaPluginRecords, "Pva1:")

    def __init__(
        self,
        prefix: str,
        *,
        name: str,
        raw_root: Path,
        pva_channel: str | None = None,
        ring_mb: float = 256,
        stall_timeout_s: float = 10.0,
        batch_age_s: float = 0.5,
        on_loss: Literal["mark", "fail"] = "mark",
        on_overflow: Overflow = "block",
        layout: Literal["images", "events"] = "images",
        frames_per_message: int = 1,
        credit: int = 0,
        spill_folder: Path | None = None,
        write_raw: bool = True,
        raw_store: Literal["auto", "dense", "events"] = "auto",
        record: bool = False,
        source: FrameSource | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(prefix, name=name, **kwargs)
        self.frames = FrameStream(spill_folder=spill_folder)
        self.write_raw = write_raw
        self.record = record
        self._recording: StreamRecording | None = None
        self.ledger = LedgerReadable(name, self._accounts)
        self._source = source or PvaSource(pva_channel or f"{prefix}Pva1:Image", credit=credit)
        self._raw_root = raw_root
        self._raw_store = raw_store
        self._ring = Ring(int(ring_mb * 2**20))
        self._stall_timeout_s = stall_timeout_s
        self._batch_age_s = batch_age_s
        self._credit = credit
        self._on_loss = on_loss
        self._on_overflow: Overflow = on_overflow
        self._arming = Arming(self.cam, self.pva, frames_per_message, layout == "events")
        self._acquisition: Acquisition | None = None
        self._storage: RawStorage | None = None
        self._storage_lane: Lane | None = None
        self._point = PointCounts()
        self._done: DeviceStatus | None = None
        self._dropped_before = 0

    # -- what a run wants to know --

    @property
    def received(self) -> int:
        """Frames accepted in the acquisition so far."""
        return self._acquisition.received if self._acquisition else 0

    @property
    def verdict(self) -> str:
        """The last acquisition's outcome in one line."""
        verdict = self._acquisition.verdict if self._acquisition else "no acquisition"
        fault = self._recording.fault if self._recording else ""
        return f"{verdict}; {fault}" if fault else verdict

    @property
    def recording(self) -> Path | None:
        """The last acquisition's recording; None where there is none."""
        return self._recording.path if self._recording else None

    @property
    def frame_ledger(self) -> AcquisitionLedger | None:
        """The last acquisition's ledger; None before its end."""
        return self._acquisition.ledger if self._acquisition else None

    # -- staging --

    def stage(self) -> list[object]:
        """Forget the last run's acquisition.

        Raises
        ------
        StorageError
            Pixels that cannot be stored as `raw_store` says.
        """
        self._refuse_second()
        self._forget()
        if self.write_raw and self._raw_store == "events":
            self._new_storage(self._arming.info())
        return list(super().stage())

    def unstage(self) -> list[object]:
        """Leave the detector idle, whatever happened."""
        self._interrupt("interrupted")
        return list(super().unstage())

    def stop(self, *, success: bool = False) -> None:
        """End the acquisition; frames that came are kept."""
        self._interrupt("stopped")
        super().stop(success=success)

    def finish(self) -> None:
        """End the acquisition early, on purpose: `complete` succeeds with the frames sent by then.

        They are the expected ones in the ledger; of those, what did not come is missing. Returns at once.
        """
        if self._acquisition is not None:
            self._acquisition.finish()

    def pause(self) -> None:
        """An acquisition cannot be held: it ends with the frames that came; the run can still be closed."""
        self._interrupt("paused")

    def resume(self) -> None:
        """Nothing to resume: `pause` ended the acquisition."""

    # -- fly scan --

    def describe_collect(self) -> dict[str, dict[str, Any]]:
        """Keys of the primary stream; reads the camera's settings."""
        self._storage = self._new_storage(self._arming.info())
        return self._storage.describe()

    def kickoff(self) -> DeviceStatus:
        """Arm and start the detector; the status ends when it acquires."""
        self._refuse_second()
        info = self._arming.info()
        if self._storage_lane is not None:  # resumed after a pause while arming: that storage has been used
            self._storage = self._new_storage(info)
        if self._storage is None or self._storage.info != info:
            raise AcquisitionError(
                f"{self.name}: the camera's settings changed after the stream was declared"
            )
        self._storage_lane = Lane(self._storage, self._on_overflow, spill_folder=self.frames.spill_folder)
        return self._start(info, [self._storage_lane, *self.frames.lanes()], self._storage_lane)

    def complete(self) -> DeviceStatus:
        """A status that ends when every frame has come, or will not come any more, and is stored."""
        if self._done is None:
            raise AcquisitionError(f"{self.name}: complete() without kickoff()")
        return self._done

    def collect_asset_docs(self, index: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:  # noqa: ARG002
        """Stream documents for rows that are closed on disk."""
        if self._storage is not None:
            yield from self._storage.documents()

    def get_index(self) -> int:
        """Rows announced."""
        return self._storage.announced if self._storage else 0

    # -- step scan --

    def trigger(self) -> DeviceStatus:
        """Take one point's frames."""
        self._refuse_second()
        self._point = PointCounts()
        self._storage = self._storage_lane = None
        lane = Lane(self._point, "block")
        self._start(self._arming.info(), [lane], lane)
        return self.complete()

    def read(self) -> dict[str, dict[str, Any]]:
        """The last point: mean total counts a frame, frames taken and missing."""
        now = time.time()
        values = self._point.values()
        return {
            **super().read(),
            **{f"{self.name}_{key}": {"value": value, "timestamp": now} for key, value in values.items()},
        }

    def describe(self) -> dict[str, dict[str, Any]]:
        """Keys of `read`."""
        return {
            **super().describe(),
            **{
                f"{self.name}_{key}": {
                    "source": f"pva:{self.prefix}",
                    "dtype": "number" if isinstance(value, float) else "integer",
                    "shape": [],
                    **({"units": "counts"} if key == "total" else {}),
                }
                for key, value in self._point.values().items()
            },
        }

    @property
    def hints(self) -> dict[str, Any]:
        """What a best-effort plot shows."""
        return {"fields": [f"{self.name}_total"]}

    # -- inside --

    def _start(self, info: AcquisitionInfo, lanes: list[Lane], awaited: Lane) -> DeviceStatus:
        lanes = [*lanes, *self._recording_lanes()]
        started, done = DeviceStatus(self), DeviceStatus(self)
        self._dropped_before = int(self.pva.dropped_arrays.get())
        self._done = done
        self._acquisition = Acquisition(
            arming=self._arming,
            source=self._source,
            info=info,
            lanes=lanes,
            ring=self._ring,
            stall_timeout_s=self._stall_timeout_s,
            batch_age_s=self._batch_age_s,
            corrupt_folder=self._storage.path.with_suffix(".corrupt")
            if self._storage
            else self._new_path(".corrupt"),
            on_started=_both(started, done),
            on_done=_settle(done),
            credit=self._credit,
            on_loss=self._on_loss,
            storage=awaited,
        )
        return started

    def _new_path(self, suffix: str) -> Path:
        now = dt.datetime.now(dt.UTC)
        return self._raw_root / f"{now:%Y/%m/%d}" / f"{self.name}-{now:%H%M%S}-{uuid.uuid4().hex[:8]}{suffix}"

    def _new_storage(self, info: AcquisitionInfo) -> RawStorage:
        path = self._new_path(".zarr")
        layout = self._raw_store if self.write_raw else None
        return RawStorage(self.name, path, info, root=self._raw_root, layout=layout)

    def _recording_lanes(self) -> list[Lane]:
        self._recording = None
        if not self.record:
            return []
        if not isinstance(self._source, PvaSource):
            raise AcquisitionError(f"{self.name}: record: only what comes over PVA can be recorded")
        self._recording = StreamRecording(self.name, self._source, self._new_path(RECORDING_SUFFIX))
        return [Lane(self._recording, "block")]

    def _accounts(self) -> Accounts:
        ledger = self.frame_ledger
        if ledger is None:
            raise AcquisitionError(f"{self.name}: no acquisition has ended, there is no ledger to read")
        return ledger, self._stored(), self._dropped_by_plugin(), self._storage.files if self._storage else []

    def _stored(self) -> ConsumerLedger:
        """What is on the disk; after a failure, that is less than what the lane handed over."""
        if self._storage is None or self._storage_lane is None or not self.write_raw:
            return _NOTHING_STORED
        fate, durable = self._storage_lane.fate, self._storage.durable
        if not fate.failed:
            return fate
        return dataclasses.replace(fate, done=durable, dropped=fate.accepted - durable)

    def _dropped_by_plugin(self) -> int:
        """Since the start; -1: the IOC does not answer. A counter that went back is a restarted IOC's."""
        signal = self.pva.dropped_arrays
        if not signal.connected:
            return -1
        now = int(signal.get())
        return now - self._dropped_before if now >= self._dropped_before else now

    def _refuse_second(self) -> None:
        if self._acquisition is not None and self._done is not None and not self._done.done:
            raise AcquisitionError(f"{self.name}: is acquiring already")

    def _interrupt(self, reason: str) -> None:
        if self._acquisition is not None:
            self._acquisition.stop(reason)

    def _forget(self) -> None:
        self._acquisition = self._storage = self._storage_lane = self._done = self._recording = None


def _settle(status: DeviceStatus) -> Callable[[Exception | None], None]:
    def settle(error: Exception | None) -> None:
        if error is None:
            status.set_finished()
        else:
            status.set_exception(error)

    return settle


def _both(started: DeviceStatus, done: DeviceStatus) -> Callable[[Exception | None], None]:
    """A failed start is the end, too; nobody should wait for it."""

    def settle(error: Exception | None) -> None:
        _settle(started)(error)
        if error is not None:
            _settle(done)(error)

    return settle
