"""The credit loop: a publisher that waits for its consumer, over real PVA."""

import logging
import subprocess
import sys
import threading

import numpy as np
import pvaccess
import pytest

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.sim import DetectorProcess
from apsdm_bluesky.sources import CreditGate, PvaSource, pva_server
from apsdm_bluesky.sources._credit import _NOBODY
from apsdm_bluesky.sources._serving import interface_of_environment
from apsdm_bluesky.streaming import AcquisitionInfo, BlockPool, Lane, Receiver
from tests.sim.client import Client
from tests.streaming.test_lane import Gated
from tests.waiting import wait_for

CREDIT = 4
SHAPE = (64, 64)
# One message is 64 KB; more of them than the credit, the ring and the sockets' buffers hold.
EACH = 8
MESSAGES = 400


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    folder = tmp_path_factory.mktemp("credit")
    frames = np.random.default_rng(5).integers(0, 99, (EACH * 3, *SHAPE)).astype(np.uint16)
    np.save(folder / "frames.npy", frames)
    simulation = SimulationConfig(frames_file=folder / "frames.npy")
    log = folder / "ioc.log"
    with DetectorProcess("credit:", simulation, frames_per_message=EACH, credit=CREDIT, log=log):
        yield Client("credit:"), frames, log


class Subscription:
    """Source, receiver and one lane with a consumer that takes a batch when it is let."""

    def __init__(self, client, frames):
        info = AcquisitionInfo(
            expected=frames, frame_shape=SHAPE, dtype="uint16", period_s=0.0, frames_per_message=EACH
        )
        self.consumer = Gated()
        self.lane = Lane(self.consumer, "block")
        ring = 8 * EACH * SHAPE[0] * SHAPE[1] * 2
        self.source = PvaSource("credit:Pva1:Image", credit=CREDIT)
        self.sink = Receiver(info, base_id=client.counter(), pool=BlockPool(ring, info), lanes=[self.lane])
        self.source.start(self.sink, queue_size=1)

    def end(self):
        ledger = self.sink.close()
        self.source.stop()
        assert self.lane.join(60)
        return ledger


def stands_still(read):
    """Whether a number has not changed for ten looks."""
    seen = []

    def still():
        seen.append(read())
        return len(seen) > 10 and len(set(seen[-10:])) == 1

    wait_for(still, message="the publisher to wait")
    return seen[-1]


def test_a_slow_consumer_holds_the_publisher_and_nothing_is_missing(detector):
    client, frames, _ = detector
    for _ in range(2):  # a subscription can be repeated
        client.prepare(MESSAGES * EACH, period=0.0)
        base = client.counter()
        subscription = Subscription(client, MESSAGES * EACH)
        completed = client.start()
        wait_for(lambda base=base: client.counter() > base)
        sent = stands_still(client.counter) - base
        assert sent < MESSAGES  # 8 in the ring, the credit, and one that waits for the ring
        assert sent <= 8 + CREDIT + 2
        assert client.get("cam1:NumImagesCounter_RBV") == sent * EACH
        subscription.consumer.let()
        assert completed.wait(60)
        wait_for(lambda subscription=subscription: subscription.sink.settled)
        ledger = subscription.end()
        assert ledger.complete
        assert (ledger.first_id, ledger.last_id) == (base + 1, base + MESSAGES)
        assert client.get("Pva1:DroppedArrays_RBV") == 0
        assert subscription.consumer.indices == list(range(MESSAGES * EACH))
        for _, indices, images in subscription.consumer.batches:
            assert np.array_equal(images, frames[indices % len(frames)])


def test_a_publisher_that_waits_can_be_stopped(detector):
    client, _, _ = detector
    client.prepare(MESSAGES * EACH, period=0.0)
    base = client.counter()
    subscription = Subscription(client, MESSAGES * EACH)
    completed = client.start()
    wait_for(lambda: client.counter() > base)
    stands_still(client.counter)
    client.stop()
    assert completed.wait(30)
    subscription.consumer.let()
    wait_for(lambda: subscription.sink.accepted == (client.counter() - base) * EACH)
    assert subscription.end().missing > 0


def test_a_sink_that_stops_its_source_sets_the_publisher_free(detector):
    client, _, _ = detector
    client.prepare(MESSAGES * EACH, period=0.0)
    base, seen = client.counter(), []
    source = PvaSource("credit:Pva1:Image", credit=CREDIT)

    def take(message):
        seen.append(message.unique_id)
        if message.unique_id > base:
            source.stop()

    source.start(take, queue_size=1)
    assert client.start().wait(60)
    assert seen[-1] == base + 1
    assert client.counter() == base + MESSAGES


def test_a_consumer_that_dies_sets_the_publisher_free_and_the_next_one_holds_it(tmp_path):
    np.save(tmp_path / "frames.npy", np.ones((EACH, *SHAPE), np.uint16))
    simulation, log = SimulationConfig(frames_file=tmp_path / "frames.npy"), tmp_path / "ioc.log"
    with DetectorProcess("dies:", simulation, frames_per_message=EACH, credit=CREDIT, log=log):
        client = Client("dies:")
        client.prepare(MESSAGES * EACH, period=0.0)
        for _ in range(2):
            hold_and_die(client)
        assert log.read_text().count("dies:Pva1:Image:ack: the consumer has gone") == 2


def hold_and_die(client):
    base = client.counter()
    command = [sys.executable, "-m", "tests.sources.stuck_consumer", "dies:Pva1:Image", str(CREDIT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as consumer:
        try:
            assert consumer.stdout.readline() == b"subscribed\n"
            completed = client.start()
            wait_for(lambda: client.counter() > base)
            assert stands_still(client.counter) - base <= CREDIT + 2
            assert not completed.is_set()
        finally:
            consumer.kill()
    assert completed.wait(60)
    assert client.counter() == base + MESSAGES


def test_nobody_is_waited_for_where_nobody_subscribes(detector):
    client, _, log = detector
    client.prepare(10 * EACH, period=0.0)
    client.acquire()
    assert "credit:Pva1:Image:ack: no consumer acknowledges" in log.read_text()


# -- the two sides by themselves --


@pytest.fixture
def ack():
    """A consumer's record, served here, and what writes to it."""
    server = pva_server("127.0.0.1")
    if not server.hasRecord("here:ack"):  # clients of a record that is made anew can go dead
        server.addRecord("here:ack", pvaccess.PvLong(0), None)
    return lambda number: server.update("here:ack", pvaccess.PvLong(number))


@pytest.fixture
def gate(ack):
    ack(_NOBODY)
    made = CreditGate("here", 3, patience_s=20)
    yield made
    made.close()


class Publisher(threading.Thread):
    """Sends through a gate as fast as it may."""

    def __init__(self, gate, numbers):
        super().__init__(daemon=True)
        self.gate, self.numbers, self.sent, self.stop = gate, numbers, [], threading.Event()
        self.start()

    def run(self):
        self.gate.open(self.stop)
        for number in self.numbers:
            self.gate.admit(number, self.stop)
            self.sent.append(number)


def test_credit_is_counted_by_number(ack, gate):
    numbers = [7, 8, 8, 9, 2**31 - 1, -(2**31), 5000, 5001, 5002, 5003, 5004]
    publisher = Publisher(gate, numbers)
    for handled, upto in [(0, 3), (7, 4), (8, 5), (1234, 5), (8, 6), (-(2**31), 9), (5002, 11)]:
        ack(handled)
        wait_for(lambda upto=upto: len(publisher.sent) == upto, message=f"{upto} sent after {handled}")
        assert stands_still(lambda: len(publisher.sent)) == upto
    publisher.join(30)
    assert publisher.sent == numbers


def test_without_a_consumer_messages_go_out_and_it_is_told_once(caplog):
    caplog.set_level(logging.WARNING)
    publisher = Publisher(CreditGate("nobody", 3, patience_s=0.2), range(100))
    publisher.join(30)
    assert publisher.sent == list(range(100))
    told = [message for message in caplog.messages if message.startswith("nobody")]
    assert told == ["nobody:ack: no consumer acknowledges; messages are sent without waiting"]


def test_a_consumer_that_unsubscribes_is_not_waited_for(ack, gate):
    ack(0)
    publisher = Publisher(gate, range(1, 50))
    wait_for(lambda: len(publisher.sent) == 3)
    ack(_NOBODY)
    publisher.join(30)
    assert len(publisher.sent) == 49


def test_the_record_is_served_on_loopback_unless_somebody_says_otherwise(monkeypatch):
    name = "EPICS_PVAS_INTF_ADDR_LIST"
    monkeypatch.delenv(name)
    assert interface_of_environment() == "127.0.0.1"
    monkeypatch.setenv(name, "10.1.2.3")
    assert interface_of_environment() == "10.1.2.3"


def test_a_process_that_ends_while_subscribed_ends_well(sound_detector):
    code = (
        "from apsdm_bluesky.sources import PvaSource\n"
        f"source = PvaSource('{sound_detector}Pva1:Image', credit=4)\n"
        "source.start(lambda _: None, queue_size=1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
