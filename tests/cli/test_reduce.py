"""`apsdm reduce`: what was reduced live and is reduced again is the same; faults are told in a line."""

import contextlib
import json
import signal
import uuid

import h5py
import numpy as np
import pytest
from event_model import compose_run

from apsdm_bluesky.cli import app
from apsdm_bluesky.cli._catalogue import publish
from apsdm_bluesky.config import (
    BeamlineConfig,
    DetectorConfig,
    QMapConfig,
    ReductionConfig,
    SimulationConfig,
)
from apsdm_bluesky.errors import ReductionError, StorageError
from apsdm_bluesky.formats import Recording
from apsdm_bluesky.plans import xpcs_series
from apsdm_bluesky.session import open_session
from apsdm_bluesky.sim import DetectorProcess, Fault
from tests.commands import apsdm, started, told
from tests.waiting import wait_for

FRAMES, SHAPE = 60, (48, 64)
SIMULATION = SimulationConfig(shape=SHAPE, seed=9, mean_counts=0.5, beam_stop_radius=0)
RINGS = ("--rings", "3", "--center", "31.5,23.5")
RINGS_THEN = QMapConfig(center=(31.5, 23.5), dynamic_bins=3)
LOST = {7, 8, 30}
COMPARED = {
    "primary": ("result_sha256", "gamma", "gamma_err", "frame_index"),
    "ledger": ("gaps", "accepted", "done", "reason"),
    "qmap": ("qmap_sha256", "hot_pixel_count"),
}


class Live:
    """A run taken in a session on a running beamline: its uid, its analysis, its recording."""

    def __init__(self, beamline, prefix, *, lost=(), qmap=None, write_raw=True, raw_store="dense"):
        self.home = beamline.home
        device = DetectorConfig(prefix=prefix, record=True, stall_timeout_s=1, raw_store=raw_store)
        config = BeamlineConfig(
            home=self.home,
            server={"port": 0},
            detectors={"sim_det": device},
            simulation=None if lost else SIMULATION,
            reduction=ReductionConfig(qmap=qmap, on_overflow="block"),
        )
        lossy = DetectorProcess(prefix, SIMULATION, fault=Fault(drop=frozenset(lost)))
        with lossy if lost else contextlib.nullcontext(), open_session(config) as session:
            device = session.devices["sim_det"]
            self.uids = session.RE(self._plan(device, write_raw))
            self.analysis = session.reducers["sim_det"].last
            assert self.analysis.ended.wait(60)
            assert session.wait_delivered(60)
            self.recording = device.recording
            wait_for(lambda: Recording(self.recording).end(), message="the end of the recording")

    def _plan(self, device, write_raw):
        times = {"acquire_period": 0.002, "acquire_time": 0.002}
        yield from xpcs_series(device, FRAMES, **times)
        if not write_raw:
            yield from xpcs_series(device, 5, write_raw=False)


@pytest.fixture(scope="module")
def gaps(beamline):
    """A run that lacks frames, stored as images."""
    return Live(beamline, "gaps:", lost=LOST, qmap=RINGS_THEN)


@pytest.fixture(scope="module")
def simulated(beamline):
    """A run in the bins of a sample with a seed of its own, stored as events."""
    return Live(beamline, "sample:", raw_store="events")


@pytest.fixture
def reduce(capsys, monkeypatch, beamline):
    """`apsdm reduce --json` in this process."""
    monkeypatch.setattr("apsdm_bluesky.cli._reduce.log_to_file", lambda _folders: None)

    def run(*arguments, home=beamline.home):
        app(["reduce", *map(str, arguments), "--json", "--home", str(home)], standalone_mode=False)
        return json.loads(capsys.readouterr().out)

    return run


def agree(run, report):
    """The report is of the live run's result."""
    assert report["result_sha256"] == run.analysis.result.sha256
    assert report["frames"]["reduced"] == run.analysis.fate.done
    assert report["frames"]["reduced"] + report["frames"]["missing"] == FRAMES
    np.testing.assert_array_equal(np.array(report["g2"]["values"], float), run.analysis.result.multitau.g2.T)


@pytest.mark.parametrize("kind", ["gaps", "simulated"])
def test_a_run_reduced_again_is_the_live_result(kind, request, beamline):
    run = request.getfixturevalue(kind)
    (uid,) = run.uids
    done = apsdm("reduce", uid[:8], "--json", home=run.home)
    assert done.stderr == ""  # no bar where nobody looks
    report = json.loads(done.stdout)
    agree(run, report)
    assert report["raw_uid"] == uid
    assert report["equal_results"] == [run.analysis.uid]
    results = beamline.client["processed"]
    then, now = results[run.analysis.uid], results[report["processed_uid"]]
    assert now.metadata["stop"]["exit_status"] == "success"
    assert now.metadata["stop"]["reason"] == then.metadata["stop"]["reason"]
    assert differing(then.metadata["start"], now.metadata["start"]) == {"uid", "time"}
    assert set(now) == set(then) - {"running"}
    for stream, keys in COMPARED.items():
        for key in keys:
            np.testing.assert_array_equal(then[stream][key].read(), now[stream][key].read(), err_msg=key)


def differing(one, other):
    return {key for key in {*one, *other} if key not in one or key not in other or one[key] != other[key]}


def test_the_recording_of_a_run_gives_its_result(gaps, reduce):
    report = reduce(gaps.recording, *RINGS)
    agree(gaps, report)
    assert report["frames"]["missing"] == len(LOST)
    assert (report["raw_uid"], report["processed_uid"]) == (None, None)


def test_other_bins_give_another_result_and_nothing_need_be_published(simulated, reduce, beamline):
    before = len(beamline.client["processed"])
    report = reduce(simulated.uids[0], "--rings", 2, "--no-publish")
    assert len(report["g2"]["q"]) == 2
    assert (report["equal_results"], report["processed_uid"]) == ([], None)
    assert len(beamline.client["processed"]) == before


def test_a_configuration_that_is_given_counts(simulated, reduce, write_config, beamline):
    path = write_config(
        home=str(beamline.home),
        reduction={"qmap": {"center": [30, 20], "dynamic_bins": 1}, "delays_per_level": 8},
    )
    report = reduce(simulated.uids[0], "--config", path, "--no-publish")
    assert len(report["g2"]["q"]) == 1
    assert report["g2"]["delays"][:17] == [*range(1, 17), 18]


def test_a_file_is_reduced_without_a_server(frames_file, reduce, tmp_path):
    report = reduce(frames_file, "--rings", 4, home=tmp_path / "home")
    assert len(report["g2"]["q"]) == 4
    assert report["frames"] == {
        "expected": 40,
        "reduced": 40,
        "dropped": 0,
        "missing": 0,
        "corrupt": 0,
        "duplicate": 0,
    }
    assert not (tmp_path / "home").exists()


def test_a_result_file_is_written_and_none_replaced(frames_file, simulated, reduce, tmp_path):
    report = reduce(simulated.uids[0], "--no-publish", "--out", tmp_path / "run.hdf")
    reduce(frames_file, "--out", tmp_path / "file.hdf")
    with h5py.File(tmp_path / "run.hdf") as run, h5py.File(tmp_path / "file.hdf") as file:
        g2 = run["xpcs/multitau/normalized_g2"][()].T
        np.testing.assert_array_equal(g2, np.array(report["g2"]["values"], float))
        assert run["entry/entry_identifier"][()] != file["entry/entry_identifier"][()] == b"frames.npy"
    with pytest.raises(StorageError, match="exists already"):
        reduce(frames_file, "--out", tmp_path / "file.hdf")


def test_a_person_reads_tables(frames_file, tmp_path):
    done = apsdm("reduce", frames_file, home=tmp_path)
    assert "40 expected, 40 reduced" in done.stdout
    assert "Gamma" in done.stdout
    assert done.stderr == ""


def test_a_uid_that_is_no_runs(reduce):
    with pytest.raises(ReductionError, match="run 0000000: the catalogue has no such raw run"):
        reduce("0000000")


def test_a_uid_that_is_not_unique_and_a_run_without_frames(reduce, beamline):
    begin = uuid.uuid4().hex[:7]
    for last in "01":
        run = compose_run(uid=f"{begin}{last}-0000-4000-8000-000000000000")
        assert publish(beamline.config, [("start", run.start_doc), ("stop", run.compose_stop())])
    with pytest.raises(ReductionError, match=f"run {begin}: several runs begin so; give more of the uid"):
        reduce(begin)
    with pytest.raises(ReductionError, match=f"run {begin}1-.*: holds no raw frames"):
        reduce(f"{begin}1")


def test_no_server(tmp_path):
    done = apsdm("reduce", "abcdef0", home=tmp_path / "home", check=False)
    assert done.returncode == 1
    assert "no Tiled server answers at" in told(done)


@pytest.mark.parametrize("name", ["empty.npy", "damaged.npy"])
def test_a_file_that_cannot_be_reduced(tmp_path, name):
    path = tmp_path / name
    np.save(path, np.zeros((0, 16, 16), np.uint16))
    if name.startswith("damaged"):
        path.write_bytes(path.read_bytes()[:40])
    done = apsdm("reduce", path, home=tmp_path / "home", check=False)
    assert done.returncode == 1
    assert str(path) in told(done)
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [[], ["x.npy", "--rings", "0"], ["x.npy", "--bogus"]])
def test_wrong_usage(arguments):
    done = apsdm("reduce", *arguments, check=False)
    assert done.returncode == 2
    assert told(done)


def test_ctrl_c_leaves_nothing(tmp_path):
    path, log = tmp_path / "long.npy", tmp_path / "home/logs/apsdm.log"
    np.lib.format.open_memmap(path, "w+", np.uint16, (1_000_000, 256, 256)).flush()  # holes: it takes no room
    with started("reduce", path, home=tmp_path / "home") as process:
        wait_for(log.exists, message="the beginning of the reduction")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "apsdm: interrupted\n")
