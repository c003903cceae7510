"""What a stream group leaves and tells, and the faults that a user can mend; without its processes."""

import json
import os
import resource
import subprocess
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from apsdm_bluesky.cli import _stream
from apsdm_bluesky.cli._stream_group import StreamGroup, plan_for, stream_group, use_interface
from apsdm_bluesky.cli._stream_state import StateFile, write_json, write_result
from apsdm_bluesky.config import BeamlineConfig, load_config
from apsdm_bluesky.errors import ConfigError, LockedError, ServiceError, StorageError
from apsdm_bluesky.model import Frame, FrameBatch
from apsdm_bluesky.reduction import QMap, SeriesReduction
from apsdm_bluesky.streaming import Collector, ConsumerGroup, GroupSeries
from apsdm_bluesky.streaming._hpc_wire import Delivery, Sender

LEDGER = {
    "pid": 41,
    "state": "ended",
    "expected": 10,
    "accepted": 7,
    "missing": 3,
    "corrupt": 0,
    "duplicate": 1,
    "stale": 2,
    "result": "/somewhere/result.npz",
    "alive": {"1": None},
    "consumers": {"1": {"process": 42, "received": 9, "delivered": 8, "lost": 1}},
    "deaths": [{"consumer": 1, "process": 42, "how": "killed by signal 9"}],
}


@pytest.fixture
def state(tmp_path):
    state = StateFile(BeamlineConfig(home=tmp_path / "home").folders)
    with state.held():
        state.write(LEDGER)
    return state


def test_the_last_series_is_told(state, tmp_path, capsys):
    _stream.status(home=tmp_path / "home")
    assert capsys.readouterr().out == (
        "not running; the last series:\n"
        "7 of 10 frames reduced: 3 missing, 0 corrupt, 1 duplicate, 2 stale\n"
        "Result /somewhere/result.npz\n"
        "consumer 1 (ended): 9 messages received, 8 delivered, 1 lost\n"
        "consumer 1 (pid 42) died: killed by signal 9\n"
    )


def test_where_no_group_ever_ran(tmp_path, capsys):
    _stream.status(home=tmp_path / "home")
    _stream.stop(home=tmp_path / "home")
    _stream.status(home=tmp_path / "home", as_json=True)
    assert capsys.readouterr().out == 'no group has run here\nno group runs here\n{"running": false}\n'
    assert not (tmp_path / "home").exists()


def test_one_group_a_folder(state):
    other = StateFile(BeamlineConfig(home=state.path.parents[1]).folders)
    with (
        state.held(),
        pytest.raises(LockedError, match=rf"runs here already \(pid {os.getpid()}\)"),
        other.held(),
    ):
        pass
    with other.held():
        assert state.runs()
    assert not state.runs()


def test_a_group_that_starts_says_who_it_is_at_once(state, tmp_path, capsys):
    """Pid 41 of the series before may be anybody now: `stop` must not end it."""
    with state.held():
        assert state.read() == {"state": "starting", "pid": os.getpid()}
        _stream.status(home=tmp_path / "home")
    _stream.status(home=tmp_path / "home")
    assert capsys.readouterr().out == (
        f"starting (pid {os.getpid()})\nnot running; the last group did not start\n"
    )


def test_a_group_that_ends_by_itself_is_stopped(state, tmp_path, capsys):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    held = state.held()
    held.__enter__()
    state.write({**LEDGER, "pid": gone.pid})
    ends = threading.Timer(0.2, held.__exit__, (None, None, None))
    ends.start()
    _stream.stop(home=tmp_path / "home")
    ends.join()
    assert capsys.readouterr().out == "stopped\n"


def test_a_torn_status_is_told(state):
    state.path.write_text('{"pid": 4')
    with pytest.raises(StorageError, match=r"status\.json: cannot be read"):
        state.read()


def test_a_full_disk_leaves_what_was_there(tmp_path):
    path = tmp_path / "ledger.json"
    write_json(path, {"a": 1})
    whole = result()
    with (
        files_of_at_most(8),
        pytest.raises(StorageError, match=r"ledger\.json: cannot write \(File too large"),
    ):
        write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    with (
        files_of_at_most(8),
        pytest.raises(StorageError, match=r"result\.npz: cannot write \(File too large"),
    ):
        write_result(tmp_path / "result.npz", whole)
    assert [left.name for left in tmp_path.iterdir()] == ["ledger.json"]


@contextmanager
def files_of_at_most(size):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_the_result_file_has_every_number(tmp_path):
    whole = result()
    write_result(tmp_path / "result.npz", whole)
    with np.load(tmp_path / "result.npz") as read:
        assert str(read["sha256"]) == whole.sha256
        np.testing.assert_array_equal(read["multitau_g2"], whole.multitau.g2)
        np.testing.assert_array_equal(read["saxs_sum_image"], whole.saxs.sum_image)
        np.testing.assert_array_equal(read["stats_total"], whole.stats.total)
        np.testing.assert_array_equal(read["decays_gamma"], whole.decays.gamma)
        np.testing.assert_array_equal(read["mask"], whole.qmap.dynamic > 0)


def result():
    series = SeriesReduction(QMap.rings((16, 16), (8, 8), dynamic_bins=2))
    frames = np.random.default_rng(1).poisson(1.0, (12, 16, 16)).astype(np.uint16)
    series.push(FrameBatch(frames=frames, indices=np.arange(12)))
    return series.result()


def test_a_detector_must_be_chosen_among_several(write_config):
    detectors = {"a": {"prefix": "A:"}, "b": {"prefix": "B:"}}
    with pytest.raises(ConfigError, match=r"stream\.detector: choose one of a, b"):
        plan_for(load_config(write_config(detectors=detectors)))
    plan = plan_for(load_config(write_config(detectors=detectors, stream={"detector": "b"})))
    assert (plan.source, plan.collector) == ("B:Pva1:Image", "B:Stream")
    assert plan.consumers().group == "B_Stream"
    with pytest.raises(ConfigError, match=r"stream\.detector: there is no detector 'c'"):
        load_config(write_config(detectors=detectors, stream={"detector": "c"}))


def test_without_a_qmap_nothing_is_started(write_config):
    plan = plan_for(load_config(write_config(detectors={"a": {"prefix": "A:"}})))
    with pytest.raises(ConfigError, match=r"reduction\.qmap"), stream_group(plan, frames=9, base_id=0):
        pass
    assert not plan.log.exists()


@pytest.fixture
def plan(write_config):
    config = load_config(write_config(detectors={"a": {"prefix": "A:"}}, stream={"restarts": 0}))
    config.folders.logs.mkdir(parents=True)
    return plan_for(config)


@contextmanager
def group_of(plan, consumers):
    """A group whose collector no consumer calls, and its series."""
    state = StateFile(plan.config.folders)
    series = GroupSeries(
        lambda shape: SeriesReduction(QMap.rings(shape, (8, 8), dynamic_bins=2)), expected=4, base_id=0
    )
    processes = ConsumerGroup(consumers, plan.consumers())
    try:
        with state.held():
            yield StreamGroup(plan, state, Collector(plan.collector, series), processes), series
    finally:
        processes.stop()


def test_a_group_that_is_stopped_while_it_starts_is_never_ready(plan, capsys):
    stop = threading.Event()
    stop.set()
    with group_of(plan, 0) as (group, _):
        ledger = _stream._series(group, stop, as_json=False)
    assert StateFile(plan.config.folders).read() == json.loads(json.dumps(ledger))
    assert (ledger["state"], ledger["reason"], ledger["missing"]) == ("ended", "stopped", 4)
    assert capsys.readouterr().out == ""


def test_a_group_that_cannot_start_leaves_a_ledger(plan, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with group_of(plan, 1) as (group, _), pytest.raises(ServiceError, match="every stream consumer died"):
        _stream._series(group, threading.Event(), as_json=False)
    ledger = StateFile(plan.config.folders).read()
    assert ledger["state"] == "ended"
    assert "every stream consumer died" in ledger["reason"]
    assert [death["how"] for death in ledger["deaths"]] == ["exit code 1"]
    (written,) = plan.config.folders.stream.glob("*/ledger.json")
    assert json.loads(written.read_text()) == ledger


def test_a_ledger_never_names_a_result_that_is_not_there(plan):
    frames = np.random.default_rng(1).poisson(1.0, (4, 16, 16)).astype(np.uint16)
    with group_of(plan, 0) as (group, series):
        for number, data in enumerate(frames, start=1):
            message = Frame(unique_id=number, timestamp=0.0, data=data)
            series.take(Delivery(sender=Sender(consumer=1, process=1, received=number), message=message))
        with files_of_at_most(2000), pytest.raises(StorageError, match=r"result\.npz"):  # a ledger would fit
            group.finish()
    assert not list(plan.config.folders.stream.glob("*/*"))


def test_a_number_of_the_group_itself_is_refused(write_config):
    config = write_config(detectors={"a": {"prefix": "A:"}}, stream={"consumers": 3})
    with pytest.raises(ConfigError, match=r"consumer 3 is one of the group's own; take a number above 3"):
        _stream.join(3, config=config)


def test_the_collector_is_looked_for_where_it_listens(monkeypatch):
    monkeypatch.setenv("EPICS_PVA_ADDR_LIST", "10.0.0.1")
    monkeypatch.setenv("EPICS_PVAS_INTF_ADDR_LIST", "10.0.0.2")
    use_interface("127.0.0.1", serve=False)
    assert os.environ["EPICS_PVAS_INTF_ADDR_LIST"] == "10.0.0.2"
    use_interface("127.0.0.1", serve=True)
    assert os.environ["EPICS_PVA_ADDR_LIST"] == "10.0.0.1 127.0.0.1"
    assert os.environ["EPICS_PVAS_INTF_ADDR_LIST"] == "127.0.0.1"
