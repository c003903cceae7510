"""A publisher in a process of its own, and the ways to take what it sends."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apsdm_bluesky.model import CorruptFrame
from apsdm_bluesky.streaming import AcquisitionInfo, BlockPool, Consumer, Lane, Receiver

if TYPE_CHECKING:
    import pvaccess

    from apsdm_bluesky.sources import Message

STALL_S = 30.0

# pvapy 5.6 lets go of a callback without the interpreter's lock: were that the last reference, the process
# would die.
_kept_callbacks: list[object] = []


@dataclass(frozen=True, slots=True)
class Taken:
    """Wall and CPU time [s] from the first credit until the last message was handled, and messages lost."""

    wall_s: float
    cpu_s: float
    lost: int


class Feed:
    """The publisher as a consumer sees it: give credit, know when the last message has been handled.

    Parameters
    ----------
    messages
        Sent in each turn, numbered from `base_id` + 1.
    credit
        Messages that each byte to the publisher allows.
    window
        Bytes given in advance.
    """

    def __init__(
        self, process: "subprocess.Popen[bytes]", channel: str, messages: int, credit: int, window: int
    ) -> None:
        self.channel, self.messages = channel, messages
        self.queue = (window + 1) * credit  # more messages are never on their way
        self._process, self._credit, self._window = process, credit, window
        self._given = 0
        self._done = threading.Event()
        self.base_id = 0

    def handled(self, unique_id: int) -> None:
        """The message of this number needs no room any more."""
        ahead = (unique_id - self.base_id) // self._credit + self._window
        self._give(min(ahead, self.messages // self._credit) - self._given)
        if unique_id == self.base_id + self.messages:
            self._done.set()

    def turn(self) -> None:
        """Have all messages of a turn sent, and wait for the last one to be handled."""
        self._done.clear()
        self._given = 0
        self._give(self._window)
        if not self._done.wait(STALL_S):
            raise RuntimeError(f"the last of {self.messages} messages did not come within {STALL_S:g} s")

    def _give(self, number: int) -> None:
        if number > 0 and self._process.stdin is not None:
            self._given += number
            self._process.stdin.write(b"." * number)
            self._process.stdin.flush()


@contextmanager
def publisher(module: str, channel: str, *, messages: int, credit: int = 1, window: int) -> Iterator[Feed]:
    """`benchmarks.<module>`, which sends on `channel` as it is given credit."""
    command = [sys.executable, "-m", f"benchmarks.{module}", channel]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdout is None or not process.stdout.readline():
            raise RuntimeError("the publisher ended at its start; what it wrote stands above")
        yield Feed(process, channel, messages, credit, window)


def through_lane(feed: Feed, consumer: Consumer, info: AcquisitionInfo, *, ring_bytes: int) -> Taken:
    """Ours: source, ring, and a lane to the consumer. `lost` counts frames."""
    from apsdm_bluesky.sources import PvaSource

    lane = Lane(consumer, "block")
    receiver = Receiver(info, base_id=feed.base_id, pool=BlockPool(ring_bytes, info), lanes=[lane])

    def sink(update: "Message | CorruptFrame") -> None:
        receiver(update)
        if update.unique_id is not None and update.unique_id > feed.base_id:
            feed.handled(update.unique_id)

    source = PvaSource(feed.channel)
    source.start(sink, queue_size=feed.queue)

    def turn() -> None:
        feed.turn()
        receiver.close()
        lane.join(STALL_S)

    wall_s, cpu_s = _timed(turn)
    source.stop()
    feed.base_id += feed.messages
    return Taken(wall_s, cpu_s, info.expected - lane.fate.done)


def over_pvapy(feed: Feed, take: "Callable[[int, pvaccess.PvObject], None]") -> Taken:
    """The bare client: `take(number, structure)` in its callback."""
    import pvaccess

    live, received = threading.Event(), 0

    def callback(structure: "pvaccess.PvObject") -> None:
        nonlocal received
        unique_id: Any = structure["uniqueId"]
        if unique_id > feed.base_id:
            take(received, structure)
            received += 1
            feed.handled(unique_id)
        live.set()

    _kept_callbacks.append(callback)
    channel = pvaccess.Channel(feed.channel)
    channel.monitor(callback, f"record[queueSize={feed.queue}]field()")
    wait_for_channel(live, feed)
    wall_s, cpu_s = _timed(feed.turn)
    channel.stopMonitor()
    feed.base_id += feed.messages
    return Taken(wall_s, cpu_s, feed.messages - received)


def over_p4p(feed: Feed, take: Callable[[int, Any], None]) -> Taken:
    """The other Python client."""
    from p4p.client.thread import Context

    live, received = threading.Event(), 0

    def callback(structure: Any) -> None:
        nonlocal received
        unique_id = structure["uniqueId"]
        if unique_id > feed.base_id:
            take(received, structure)
            received += 1
            feed.handled(unique_id)
        live.set()

    with Context("pva", nt=False) as context:
        subscription = context.monitor(feed.channel, callback, request=f"record[queueSize={feed.queue}]")
        wait_for_channel(live, feed)
        wall_s, cpu_s = _timed(feed.turn)
        subscription.close()
    feed.base_id += feed.messages
    return Taken(wall_s, cpu_s, feed.messages - received)


def wait_for_channel(live: threading.Event, feed: Feed) -> None:
    if not live.wait(STALL_S):
        raise RuntimeError(f"{feed.channel} does not answer within {STALL_S:g} s")


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu
