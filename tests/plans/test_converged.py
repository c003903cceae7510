"""Frames are taken until the correlation is known well enough, and the run tells why it has ended."""

import threading

import pytest
from bluesky.utils import RunEngineInterrupted

from apsdm_bluesky.callbacks import StreamReducer
from apsdm_bluesky.config import ReductionConfig
from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.plans import acquire_until_converged
from apsdm_bluesky.reduction import QMap, SeriesReduction
from apsdm_bluesky.sim import DetectorProcess, Fault, SpeckleSample
from tests.beamline import SIMULATION, Documents, open_device
from tests.waiting import wait_for

PERIOD = 0.002
TIMES = {"acquire_period": PERIOD, "acquire_time": PERIOD}
SAMPLE = SpeckleSample(SIMULATION)
CONFIG = ReductionConfig(interval_s=0.05, hot_pixel_frames=10, on_overflow="block")
ENOUGH = 20_000  # frames: far more than any target here needs


def qmap_for(shape):
    return QMap.rings(shape, SAMPLE.center, dynamic_bins=3, r_min=13, r_max=23, mask=SAMPLE.mask)


class Runs(Documents):
    """The documents of a run."""

    def events(self, stream):
        uids = [doc["uid"] for doc in self.named("descriptor") if doc["name"] == stream]
        return [doc["data"] for doc in self.named("event") if doc["descriptor"] in uids]

    @property
    def reason(self):
        return self.stop["reason"]


@pytest.fixture
def documents():
    return Runs()


@pytest.fixture
def reducing(RE):
    """A live reduction of a device's frames, until the test's end."""
    tokens = []

    def reduce(device, config=CONFIG):
        reducer = StreamReducer(
            device.name, device.frames, emit=Documents(), qmap_for=qmap_for, config=config
        )
        tokens.append(RE.subscribe(reducer))
        return reducer

    yield reduce
    for token in tokens:
        RE.unsubscribe(token)


def result_of(reducer):
    assert reducer.last.ended.wait(60)
    return reducer.last.result


def test_it_ends_when_the_rates_are_known(RE, det, documents, reducing):
    reducer = reducing(det)
    RE(acquire_until_converged(det, reducer.progress, ENOUGH, rate_error=0.2, bins=[2, 3], **TIMES))
    checks, ledger = documents.events("convergence"), documents.ledger()
    assert [check["converged"] for check in checks] == [False] * (len(checks) - 1) + [True]
    assert checks[-1]["rate_error"].max() <= checks[-1]["rate_error_target"] == 0.2
    assert checks[-1]["rate"].shape == (2,)
    assert checks[-1]["frames"] <= ledger["accepted"] < ENOUGH
    assert documents.stop["exit_status"] == "success"
    assert f"; converged after {checks[-1]['frames']} frames: rate error " in documents.reason
    (start,) = documents.named("start")
    assert start["convergence"]["rate_error"] == 0.2
    assert start["convergence"]["bins"] == [2, 3]
    # It is as good in the end, and the truth.
    decays = result_of(reducer).decays
    assert (decays.gamma_err[1:] / decays.gamma[1:] < 0.25).all()
    assert (abs(decays.gamma - SAMPLE.gamma(decays.q))[1:] < 4 * decays.gamma_err[1:]).all()


def test_frames_that_were_not_taken_are_not_missing(RE, det, documents, reducing):
    reducer = reducing(det)
    RE(acquire_until_converged(det, reducer.progress, ENOUGH, g2_error=0.5, **TIMES))
    ledger = documents.ledger()
    assert (
        ledger["expected"]
        == ledger["accepted"]
        == ledger["stored"]
        == det.cam.array_counter.get() - ledger["base_id"]
    )
    assert (ledger["missing"], ledger["gaps"]) == (0, "[]")
    assert documents.reason.startswith(f"{ledger['expected']} of {ledger['expected']} frames; converged")
    assert len(result_of(reducer).stats.indices) == ledger["expected"]
    assert not det.cam.acquiring.get(use_monitor=False)


def test_a_target_that_is_out_of_reach_ends_at_the_limit(RE, det, documents, reducing):
    reducer = reducing(det)
    RE(acquire_until_converged(det, reducer.progress, 300, rate_error=1e-6, g2_error=1e-6, **TIMES))
    assert documents.stop["exit_status"] == "success"
    assert documents.reason.startswith("300 of 300 frames; not converged")
    assert documents.ledger()["accepted"] == 300
    assert not any(check["converged"] for check in documents.events("convergence"))


def test_the_dose_is_the_cameras_own_limit(RE, det, documents, reducing):
    reducer = reducing(det)
    plan = acquire_until_converged(
        det, reducer.progress, ENOUGH, rate_error=1e-6, max_exposure_s=100 * PERIOD, **TIMES
    )
    RE(plan)
    assert det.cam.num_images.get() == documents.ledger()["accepted"] == 100
    (start,) = documents.named("start")
    assert start["convergence"]["max_exposure_s"] == 100 * PERIOD


def test_the_time_is_limited(RE, det, documents, reducing):
    reducer = reducing(det)
    RE(acquire_until_converged(det, reducer.progress, ENOUGH, rate_error=1e-6, max_time_s=0.5, **TIMES))
    ledger = documents.ledger()
    assert 0 < ledger["accepted"] == ledger["expected"] < ENOUGH
    assert "; not converged in 0.5 s" in documents.reason
    assert documents.stop["exit_status"] == "success"


def test_where_the_reduction_fails_the_frames_are_taken(RE, det, documents, reducing, monkeypatch):
    def push(self, batch):
        raise MemoryError("no memory for the correlation")

    monkeypatch.setattr(SeriesReduction, "push", push)
    reducer = reducing(det)
    RE(acquire_until_converged(det, reducer.progress, 200, rate_error=0.1, **TIMES))
    assert documents.ledger()["accepted"] == documents.ledger()["stored"] == 200
    assert "not converged, for it cannot be judged" in documents.reason
    assert "no memory for the correlation" in documents.reason
    assert documents.stop["exit_status"] == "success"


def test_a_judgement_that_fails_is_told(RE, det, documents, reducing, monkeypatch):
    def fit(result):
        raise FloatingPointError("the fit went wrong")

    monkeypatch.setattr("apsdm_bluesky.plans._convergence.fit_decays", fit)
    reducer = reducing(det)
    RE(acquire_until_converged(det, reducer.progress, 1500, rate_error=0.1, **TIMES))
    assert documents.ledger()["accepted"] == 1500
    assert "FloatingPointError: the fit went wrong" in documents.reason
    assert documents.events("convergence") == []


def test_bins_that_the_qmap_has_not_fail_the_run(RE, det, documents, reducing):
    reducer = reducing(det)
    with pytest.raises(ReductionError, match=r"bins \[4\]: the q-map has 3"):
        RE(acquire_until_converged(det, reducer.progress, ENOUGH, rate_error=0.1, bins=[4], **TIMES))
    assert documents.stop["exit_status"] == "fail"
    assert "the q-map has 3" in documents.reason
    assert not det.cam.acquiring.get(use_monitor=False)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"rate_error": 0.0},
        {"g2_error": float("nan")},
        {"rate_error": 0.1, "bins": []},
        {"rate_error": 0.1, "bins": [0]},
        {"g2_error": 0.1, "delay": 0},
        {"rate_error": 0.1, "max_frames": 0},
        {"rate_error": 0.1, "max_exposure_s": PERIOD / 2},
    ],
)
def test_what_makes_no_sense_is_refused_before_the_run(RE, det, documents, arguments):
    with pytest.raises(ValueError, match=r"give|room for one frame"):
        RE(acquire_until_converged(det, lambda: None, **{"max_frames": 10, **TIMES, **arguments}))
    assert documents.all == []


def test_lost_frames_are_told_and_do_not_hinder(RE, documents, reducing, tmp_path):
    with DetectorProcess("lossy:", SIMULATION, fault=Fault(drop=frozenset({0, 5, 6, 40}))):
        det = open_device("lossy:", tmp_path)
        reducer = reducing(det)
        RE(acquire_until_converged(det, reducer.progress, ENOUGH, g2_error=0.5, **TIMES))
        det.destroy()
    ledger = documents.ledger()
    assert (ledger["missing"], ledger["gaps"]) == (4, "[[0, 1], [5, 2], [40, 1]]")
    assert ledger["expected"] == ledger["accepted"] + 4 < ENOUGH
    assert "; converged after " in documents.reason


def test_a_detector_that_dies_ends_the_run(RE, documents, reducing, tmp_path):
    with DetectorProcess("mortal:", SIMULATION) as process:
        det = open_device("mortal:", tmp_path)
        reducer = reducing(det)

        def kill():
            wait_for(lambda: det.received > 50, message="50 frames")
            process.stop()

        thread = threading.Thread(target=kill)
        thread.start()
        RE(acquire_until_converged(det, reducer.progress, ENOUGH, rate_error=1e-6, **TIMES))
        thread.join(30)
        det.destroy()
    ledger = documents.ledger()
    assert 50 < ledger["accepted"] < ledger["expected"] == ENOUGH  # how many it would have sent is not known
    assert "no frame for" in documents.reason
    assert "not converged" in documents.reason


def test_an_interruption_leaves_the_detector_idle_and_the_run_closed(RE, det, documents, reducing):
    reducer = reducing(det)

    def pause():
        wait_for(lambda: documents.events("convergence"), message="a check")
        RE.request_pause(defer=False)

    thread = threading.Thread(target=pause)
    thread.start()
    with pytest.raises(RunEngineInterrupted):
        RE(acquire_until_converged(det, reducer.progress, ENOUGH, rate_error=1e-6, **TIMES))
    thread.join(30)
    assert not det.cam.acquiring.get(use_monitor=False)
    RE.resume()
    checks = documents.events("convergence")
    assert len({check["frames"] for check in checks}) == len(checks)  # none is told twice
    assert "paused; not converged" in documents.reason
    assert [thread for thread in threading.enumerate() if thread.name.startswith("convergence")] == []
