"""What a stream group leaves and tells, and the faults that a user can mend; without its processes."""

import json
import os

import numpy as np
import pytest

from apsdm_bluesky.cli import _stream
from apsdm_bluesky.cli._stream_group import plan_for, stream_group, use_interface
from apsdm_bluesky.cli._stream_state import StateFile, write_json, write_result
from apsdm_bluesky.config import BeamlineConfig, load_config
from apsdm_bluesky.errors import ConfigError, LockedError, StorageError
from apsdm_bluesky.model import FrameBatch
from apsdm_bluesky.reduction import QMap, SeriesReduction

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
    with state.held(), pytest.raises(LockedError, match=r"runs here already \(pid 41\)"), other.held():
        pass
    with other.held():
        assert state.runs()
    assert not state.runs()


def test_a_torn_status_is_told(state):
    state.path.write_text('{"pid": 4')
    with pytest.raises(StorageError, match=r"status\.json: cannot be read"):
        state.read()


def test_a_full_disk_leaves_what_was_there(tmp_path):
    path = tmp_path / "ledger.json"
    write_json(path, {"a": 1})
    (tmp_path / ".ledger.json").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left on device"):
        write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    (tmp_path / ".result.npz").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left on device"):
        write_result(tmp_path / "result.npz", result())
    assert [left.name for left in tmp_path.iterdir()] == ["ledger.json"]


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


def test_the_collector_is_looked_for_where_it_listens(monkeypatch):
    monkeypatch.setenv("EPICS_PVA_ADDR_LIST", "10.0.0.1")
    monkeypatch.setenv("EPICS_PVAS_INTF_ADDR_LIST", "10.0.0.2")
    use_interface("127.0.0.1", serve=False)
    assert os.environ["EPICS_PVAS_INTF_ADDR_LIST"] == "10.0.0.2"
    use_interface("127.0.0.1", serve=True)
    assert os.environ["EPICS_PVA_ADDR_LIST"] == "10.0.0.1 127.0.0.1"
    assert os.environ["EPICS_PVAS_INTF_ADDR_LIST"] == "127.0.0.1"
