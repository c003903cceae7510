"""An acquisition that is ended on purpose: what was sent is expected, what of it is lost is told."""

import threading

from apsdm_bluesky.plans import xpcs_series
from apsdm_bluesky.sim import DetectorProcess
from tests.beamline import SIMULATION, open_device
from tests.waiting import wait_for

PLAN = {"acquire_period": 0.002, "acquire_time": 0.002}
ASKED = 20_000


def finished(RE, det, when=lambda _: None):
    """A series that is ended after some frames; `when` may do something to the detector just before."""

    def finish():
        wait_for(lambda: det.received > 50, message="50 frames")
        when(det)
        det.finish()

    thread = threading.Thread(target=finish)
    thread.start()
    try:
        RE(xpcs_series(det, ASKED, **PLAN))
    finally:
        thread.join(30)


def sent(det, ledger):
    return det.cam.array_counter.get(use_monitor=False) - ledger["base_id"]


def test_what_was_sent_is_expected(RE, det, documents):
    finished(RE, det)
    ledger = documents.ledger()
    assert 50 < ledger["accepted"] == ledger["expected"] == ledger["stored"] == sent(det, ledger) < ASKED
    assert ledger["missing"] == 0
    assert documents.stop["reason"] == f"{ledger['accepted']} of {ledger['accepted']} frames"


def test_frames_that_are_lost_at_the_end_are_missing(RE, det, documents):
    """The camera counts them, but nobody gets them."""

    def mute(det):
        det.cam.array_callbacks.set(0).wait(5)
        number = det.cam.array_counter.get(use_monitor=False)
        wait_for(lambda: det.cam.array_counter.get(use_monitor=False) > number + 10, message="10 frames")

    finished(RE, det, mute)
    ledger = documents.ledger()
    assert ledger["expected"] == sent(det, ledger) < ASKED
    assert ledger["missing"] >= 10
    assert ledger["gaps"] == f"[[{ledger['accepted']}, {ledger['missing']}]]"


def test_a_loss_still_fails_the_run_where_it_must(RE, sound_detector, documents, tmp_path):
    det = open_device(sound_detector, tmp_path, on_loss="fail")
    finished(RE, det)
    det.destroy()
    assert documents.stop["exit_status"] == "success"


def test_messages_of_many_frames(RE, documents, tmp_path):
    with DetectorProcess("stacks:", SIMULATION, frames_per_message=7):
        det = open_device("stacks:", tmp_path, frames_per_message=7)
        finished(RE, det)
        ledger = documents.ledger()
        assert ledger["expected"] == ledger["accepted"] == 7 * sent(det, ledger) < ASKED
        det.destroy()


def test_before_and_after_an_acquisition_it_does_nothing(RE, det, documents):
    det.finish()
    RE(xpcs_series(det, 5, **PLAN))
    det.finish()
    assert documents.stop["reason"] == "5 of 5 frames"
