"""One acquisition, from arming to the last frame's fate, on a thread of its own."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from apsdm_bluesky.errors import AcquisitionError, StorageError
from apsdm_bluesky.formats import write_corrupt
from apsdm_bluesky.sources import FrameSource
from apsdm_bluesky.streaming import AcquisitionInfo, BlockPool, Lane, Receiver, Ring

from ._arming import Arming

if TYPE_CHECKING:
    from apsdm_bluesky.model import AcquisitionLedger

logger = logging.getLogger(__name__)

# The server's queue for one burst; a queue of at least N frames lost nothing in any measurement.
_QUEUE_BYTES = 4 * 2**30
_POLL_S = 0.02
# Frames still on their way when the driver reports its end.
_SETTLE_S = 1.0


class Acquisition:
    """Arms, starts, watches and closes one acquisition.

    Parameters
    ----------
    on_started, on_done
        Called once each with None, or with what went wrong. `on_done` follows `on_started` unless that had
        an error.
    credit
        Messages that the source may be ahead; 0: it does not wait.
    on_loss
        ``fail``: an acquisition that lacks frames ends with an `AcquisitionError`. ``mark``: the ledger
        tells.
    corrupt_folder
        Made when there are corrupt messages, and gets the first of them.
    storage
        The lane whose consumer must have finished before the acquisition counts as done.
    """

    def __init__(
        self,
        *,
        arming: Arming,
        source: FrameSource,
        info: AcquisitionInfo,
        lanes: Sequence[Lane],
        ring: Ring,
        stall_timeout_s: float,
        batch_age_s: float,
        corrupt_folder: Path,
        on_started: Callable[[Exception | None], None],
        on_done: Callable[[Exception | None], None],
        credit: int = 0,
        on_loss: Literal["mark", "fail"] = "mark",
        storage: Lane | None = None,
    ) -> None:
        self._arming = arming
        self._source = source
        self._info = info
        self._lanes = lanes
        self._ring = ring
        self._batch_age_s = batch_age_s
        self._corrupt_folder = corrupt_folder
        self._stall_timeout_s = stall_timeout_s + info.period_s * info.frames_per_message
        self._on_started = on_started
        self._on_done = on_done
        self._storage = storage
        self._credit = credit
        self._on_loss = on_loss
        self._interrupted = False
        self._stop_reason = ""
        self._enough: Literal["no", "asked", "stopping", "counted"] = "no"
        self._receiver: Receiver | None = None
        self._ended: threading.Event | None = None
        self.ledger: AcquisitionLedger | None = None
        self._thread = threading.Thread(target=self._run, name="acquisition", daemon=True)
        self._thread.start()

    @property
    def received(self) -> int:
        """Frames accepted so far."""
        return self._receiver.accepted if self._receiver else 0

    @property
    def verdict(self) -> str:
        """One line for the run's stop document."""
        if self.ledger is None:
            return "no frames taken"
        text = f"{self.ledger.accepted} of {self.ledger.expected} frames"
        if self.ledger.missing:
            gaps = ", ".join(f"{first}+{length}" for first, length in self.ledger.gaps[:5])
            more = ", ..." if len(self.ledger.gaps) > 5 else ""
            text += f"; {self.ledger.missing} missing (index+length: {gaps}{more})"
        if self.ledger.corrupt and self._receiver:
            text += f"; {self.ledger.corrupt} corrupt ({self._receiver.aside[0].reason})"
        if self._storage and self._storage.fate.failed:
            text += f"; storage failed: {self._storage.fate.reason}"
        return f"{text}; {self._stop_reason}" if self._stop_reason else text

    def stop(self, reason: str) -> None:
        """End it now, with the frames that have come; harmless at its end.

        When this returns the detector is idle, and what has come is stored: its account can be read.
        """
        if self.ledger is None:
            self._stop_reason = self._stop_reason or reason
            self._interrupted = True
        if self._thread is threading.current_thread():
            return
        self._thread.join(self._stall_timeout_s + 10)
        if self._thread.is_alive():
            logger.warning("%s: waits until the frames that came are stored", self._arming.cam.prefix)
            self._thread.join()

    def finish(self) -> None:
        """Enough has been taken: end it early, on purpose. Returns at once; `on_done` tells the end.

        The frames that the detector has sent by its own counter are then those that are expected.
        """
        if self._enough == "no":
            self._enough = "asked"

    def _run(self) -> None:
        try:
            ended = self._begin()
        except Exception as error:  # noqa: BLE001 - handed on to whoever waits for the start
            self._close()
            self._on_started(error)
            return
        self._on_started(None)
        failure: Exception | None = None
        try:
            self._watch(ended)
        except Exception as error:  # noqa: BLE001 - handed on to whoever waits for the end
            failure = error
        self._close()
        self._on_done(failure or self._storage_failure() or self._loss())

    def _begin(self) -> threading.Event:
        self._arming.prepare()
        gate = _Gate()
        pool = self._ring.pool(self._info)
        self._source.start(gate, queue_size=self._queue_size(pool))
        # What came up to here is stale; numbers beyond the counter are ours.
        self._receiver = Receiver(
            self._info,
            base_id=self._arming.frame_counter(),
            pool=pool,
            lanes=self._lanes,
            batch_age_s=self._batch_age_s,
        )
        if (failure := self._storage_failure()) is not None:
            raise failure
        gate.open(self._receiver)
        self._ended = self._arming.start()
        return self._ended

    def _queue_size(self, pool: BlockPool) -> int:
        wanted = self._info.messages + 4
        fitting = max(4, _QUEUE_BYTES // pool.message_bytes)
        if fitting < wanted and not self._credit:
            logger.warning(
                "the server's queue holds %d of %d messages: a slow consumer can lose some", fitting, wanted
            )
        return min(wanted, fitting)

    def _watch(self, ended: threading.Event) -> None:
        """Return when the frames are in, or will not come any more."""
        receiver = self._started()
        while not receiver.settled and not self._stop_reason:
            self._end_early(receiver, ended)
            quiet_s = receiver.quiet_s
            if ended.is_set() and self._source.connected and quiet_s > _SETTLE_S:
                self._recover_last(receiver)
                self._refuse_nothing(receiver, "the camera is done")
                return
            if quiet_s > self._stall_timeout_s:
                self._give_up(receiver, quiet_s)
                return
            ended.wait(_POLL_S) if not ended.is_set() else time.sleep(_POLL_S)

    def _end_early(self, receiver: Receiver, ended: threading.Event) -> None:
        """If that is wanted: stop the detector, and when it has ended ask how far it came."""
        if self._enough == "asked":
            self._enough = "stopping"
            self._arming.stop()
        elif self._enough == "stopping" and ended.is_set() and self._source.connected:
            self._enough = "counted"
            receiver.end_at(self._arming.frame_counter())

    def _give_up(self, receiver: Receiver, quiet_s: float) -> None:
        disconnected = "" if self._source.connected else ", IOC disconnected"
        self._stop_reason = f"no frame for {quiet_s:.0f} s{disconnected}"
        logger.error("%s after %d frames", self._stop_reason, receiver.accepted)
        self._refuse_nothing(receiver, self._stop_reason)

    def _refuse_nothing(self, receiver: Receiver, why: str) -> None:
        if receiver.ledger.updates == 0:
            raise AcquisitionError(
                f"{self._arming.cam.prefix}: {why}; no frame came at all: does the PVA plug-in listen to the "
                "camera's port?"
            )

    def _recover_last(self, receiver: Receiver) -> None:
        """After an overrun the last frame of a burst may never be sent, yet the server still has it."""
        latest = self._source.latest()
        if latest is not None and receiver.expects(latest.unique_id):
            receiver(latest)

    def _close(self) -> None:
        """Leave the detector idle and tell the lanes. Must never raise: it runs after failures."""
        receiver = self._receiver
        if self._ended is not None:  # it was started, by us
            self._quietly(self._arming.stop if receiver is None or not receiver.settled else lambda: None)
            self._await_idle(self._ended)
        if receiver is not None:
            self.ledger = receiver.close()
            if receiver.aside:
                self._quietly(lambda: write_corrupt(self._corrupt_folder, receiver.aside))
        self._quietly(self._source.stop)
        if self._storage is not None and receiver is not None:
            self._storage.join()
        self._log_ledger()

    def _await_idle(self, ended: threading.Event) -> None:
        """Its put-callback must come back: a second one on Acquire would stall the client's circuit."""
        deadline = time.monotonic() + self._stall_timeout_s
        while not ended.wait(_POLL_S) and self._source.connected:
            if time.monotonic() > deadline:
                self._stop_reason = self._stop_reason or "the detector is still acquiring"
                logger.error(
                    "%s: Acquire has not ended %.0f s after the last frame",
                    self._arming.cam.prefix,
                    self._stall_timeout_s,
                )
                return

    def _log_ledger(self) -> None:
        if self.ledger is not None:
            level = logging.INFO if self.ledger.complete else logging.WARNING
            logger.log(level, "%s: %s; %s", self._arming.cam.prefix, self.verdict, self.ledger)

    def _quietly(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - the acquisition's own failure is the one to tell
            logger.warning("%s: %s", self._arming.cam.prefix, error)

    def _storage_failure(self) -> Exception | None:
        if self._storage is None or not self._storage.fate.failed:
            return None
        return StorageError(self._storage.fate.reason)

    def _loss(self) -> Exception | None:
        """A gap, where gaps fail the run; one who stopped the acquisition himself knows that it is short."""
        if self._on_loss == "mark" or self._interrupted or self.ledger is None or self.ledger.complete:
            return None
        return AcquisitionError(f"{self._arming.cam.prefix}: {self.verdict} (on_loss is 'fail')")

    def _started(self) -> Receiver:
        if self._receiver is None:
            raise AcquisitionError("the acquisition has not begun")
        return self._receiver


class _Gate:
    """Holds back what arrives before the base number is known: all of it is stale."""

    def __init__(self) -> None:
        self._receiver: Receiver | None = None

    def open(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def __call__(self, update: object) -> None:
        if self._receiver is not None:
            self._receiver(update)  # type: ignore[arg-type]
