"""NTNDArrays of all kinds, good and hostile, from a real PVA server to the source and the receiver."""

import contextlib
import re
import subprocess
import sys

import numpy as np
import pytest

from apsdm_bluesky.model import CorruptFrame
from apsdm_bluesky.sources import PvaSource
from apsdm_bluesky.streaming import AcquisitionInfo, BlockPool, Receiver
from tests.sources.hostile import CASES, IMAGE, numbered
from tests.sources.hostile_server import codec_samples
from tests.waiting import wait_for

QUEUE = 2000  # nothing is lost on the way


@contextlib.contextmanager
def server(channel, messages):
    """The running server; a line on its stdin makes it send."""
    command = [sys.executable, "-m", "tests.sources.hostile_server", channel, messages]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.communicate("stop\n", timeout=30)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def sent(process):
    process.stdin.write("send\n")
    process.stdin.flush()


def test_every_codec_and_type_arrives_pixel_by_pixel():
    expected = dict(enumerate(codec_samples(), start=1))
    came = {}
    with server("codecs:Image", "codecs") as process:
        source = PvaSource("codecs:Image")
        source.start(lambda update: came.setdefault(update.unique_id, update), queue_size=QUEUE)
        sent(process)
        wait_for(lambda: len(came) == len(expected), message="every image")
        source.stop()
    for number, (codec, data) in expected.items():
        update = came[number]
        assert not isinstance(update, CorruptFrame), (codec, update.reason)
        assert update.data.dtype == data.dtype, codec
        np.testing.assert_array_equal(update.data, data, err_msg=codec)


class Account:
    """What became of the messages between two good ones: asks the ledger behind each good one."""

    def __init__(self, receiver, goods):
        self.receiver = receiver
        self.goods = iter(goods)
        self.next_good = next(self.goods)
        self.reasons = {}
        self.entries = [self._count()]
        self.behind = []

    def __call__(self, update):
        self.receiver(update)
        if isinstance(update, CorruptFrame):
            self.behind.append(update.reason)
        elif update.unique_id == self.next_good:
            self.reasons[update.unique_id] = self.behind
            self.behind = []
            self.entries.append(self._count())
            self.next_good = next(self.goods, None)

    def _count(self):
        ledger = self.receiver.ledger
        assert ledger.expected == ledger.accepted + ledger.corrupt + ledger.missing
        assert ledger.updates == ledger.accepted + ledger.duplicate + ledger.stale + ledger.corrupt
        gone = sum(length for first, length in ledger.gaps if first + length < ledger.expected)
        return np.array([ledger.accepted, ledger.corrupt, gone, ledger.duplicate, ledger.stale])


FATES = {
    "accepted": [1, 0, 0, 0, 0],
    "corrupt": [0, 1, 0, 0, 0],
    "missing": [0, 0, 1, 0, 0],
    "duplicate": [0, 0, 0, 1, 0],
    "stale": [0, 0, 0, 0, 1],
    "accepted, 3 missing": [1, 0, 3, 0, 0],
}
GOOD = np.array([1, 0, 0, 0, 0])


@pytest.fixture(scope="module")
def fates():
    """Of each case: what it added to the ledger, and the reasons told."""
    goods = [number for number, case in numbered() if case is None]
    info = AcquisitionInfo(expected=goods[-1], frame_shape=IMAGE.shape, dtype="uint16", period_s=0.0)
    receiver = Receiver(info, base_id=0, pool=BlockPool(2**20, info), lanes=[])
    account = Account(receiver, goods)
    with server("hostile:Image", "hostile") as process:
        source = PvaSource("hostile:Image")

        def each_as_the_first(update):
            account(update)
            source._mono = False  # only a subscription's first image is asked for its colour

        source.start(each_as_the_first, queue_size=QUEUE)
        sent(process)
        wait_for(lambda: receiver.settled, message="the last good frame")
        source.stop()
    ledger = receiver.close()
    assert ledger.accepted >= len(goods)
    added = np.diff(account.entries, axis=0) - GOOD
    return {
        case.name: (fate.tolist(), account.reasons[good])
        for case, fate, good in zip(CASES, added[1:], goods[1:], strict=True)
    }


def test_the_corpus_is_large_and_its_names_differ():
    assert len({case.name for case in CASES}) == len(CASES) >= 40


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_message_ends_in_a_counted_frame(case, fates):
    fate, reasons = fates[case.name]
    assert fate == FATES[case.fate]
    assert len(reasons) == bool(case.reason)
    if case.reason:
        assert re.search(case.reason, reasons[0]), reasons
        assert "\n" not in reasons[0]
