"""A session: opened, used and left in every way."""

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from bluesky import Msg

from apsdm_bluesky import open_session
from apsdm_bluesky.config import (
    BeamlineConfig,
    DetectorConfig,
    LiveOutputConfig,
    QMapConfig,
    ReductionConfig,
    SimulationConfig,
)
from apsdm_bluesky.errors import (
    AcquisitionError,
    ApsdmError,
    ConfigError,
    ExperimentError,
    FormatError,
    ServiceError,
    StorageError,
    WorkflowError,
)
from apsdm_bluesky.experiments import CurrentExperiment, NewExperiment, open_experiments
from apsdm_bluesky.plans import xpcs_series
from apsdm_bluesky.session import next_scan_id
from apsdm_bluesky.sim import DetectorProcess
from apsdm_bluesky.spool import Spool
from apsdm_bluesky.workflows import Stage, Workflow
from apsdm_bluesky.workflows.jobs import JobStore, TriggerRequests
from tests.commands import all_gone, beamline, children
from tests.streaming.live_client import assert_shows, display
from tests.waiting import wait_for

__all__ = ["beamline"]

SMALL = SimulationConfig(shape=(64, 64), beam_stop_radius=2)


@pytest.fixture
def nobody():
    """A port where no server answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Closing a session without a server does not wait for one."""
    monkeypatch.setattr("apsdm_bluesky.session._DELIVERY_TIMEOUT_S", 0.0)


@pytest.fixture
def config(tmp_path, nobody):
    return BeamlineConfig(home=tmp_path / "home", server={"port": nobody}, simulation=SMALL)


def test_a_run_is_catalogued_reduced_and_archived(beamline):
    with open_session(beamline.config.model_copy(update={"simulation": SMALL})) as session:
        (uid,) = session.RE(xpcs_series(session.devices["sim_det"], 60, acquire_period=0.005))
        assert session.wait_delivered(60)
        assert session.catalog["raw"][uid].metadata["stop"]["reason"] == "60 of 60 frames"
        analysis = session.reducers["sim_det"].last
        assert analysis.ended.wait(60)
        assert session.wait_delivered(60)
        assert session.catalog["processed"][analysis.uid].metadata["start"]["raw_uid"] == uid
        wait_for(lambda: str(getattr(session.archive.get(uid), "state", "")) == "VERIFIED", 60, "the archive")


def test_without_a_server_documents_wait_in_the_spool(config, nobody):
    with open_session(config) as session:
        (uid,) = session.RE(xpcs_series(session.devices["sim_det"], 20, acquire_period=0.005))
        assert not session.wait_delivered(0.1)
        with pytest.raises(
            ServiceError, match=f"no Tiled server answers at http://127.0.0.1:{nobody}"
        ) as caught:
            _ = session.catalog
        assert "\n" not in str(caught.value)
        assert session.reducers["sim_det"].last.ended.wait(60)
        first = session.RE.md
    spooled = [path.name for path in (config.folders.spool).rglob("*.jsonl")]
    assert any(uid in name for name in spooled)
    assert len(spooled) == 2
    assert first["beamline"] == "simulated"
    session.close()  # a second time: nothing happens
    with open_session(config) as again:
        starts = []
        again.RE.subscribe(lambda _, doc: starts.append(doc["scan_id"]), "start")
        again.RE(xpcs_series(again.devices["sim_det"], 10, acquire_period=0.005))
    assert starts == [2]


def test_rules_start_jobs_of_the_run_and_of_its_analysis(config):
    rules = [
        {"name": "raw", "workflow": "keep", "plan": "xpcs_*", "loss": "none", "arguments": {"what": "$uid"}},
        {
            "name": "both",
            "workflow": "keep",
            "analysis": True,
            "loss": "none",
            "arguments": {"what": "$raw_uid"},
        },
    ]
    workflows = config.workflows.model_validate({"triggers": rules})
    with open_session(config.model_copy(update={"workflows": workflows})) as session:
        keep = Workflow(name="keep", owner="staff", stages=(Stage(name="say", command="echo $what"),))
        session.workflows.definitions.add(keep, actor="staff")
        (uid,) = session.RE(xpcs_series(session.devices["sim_det"], 20, acquire_period=0.005))
        analysis = session.reducers["sim_det"].last
        assert analysis.ended.wait(60)
        store = JobStore(config.folders.jobs)
        assert TriggerRequests(Spool(config.folders.spool), store, actor="agent").reconcile() == 3
        store.close()
        started = {(job.run, job.rule): dict(job.arguments)["what"] for job in session.workflows.jobs()}
        assert started == {(uid, "raw"): uid, (uid, "both"): "", (analysis.uid, "both"): uid}


def test_a_rule_that_cannot_be_read_opens_no_session(config):
    rule = {"name": "r", "workflow": "keep", "when": "now()"}
    workflows = config.workflows.model_validate({"triggers": [rule]})
    with pytest.raises(ConfigError, match=r"workflows.triggers: r: when: "):
        open_session(config.model_copy(update={"workflows": workflows}))


@pytest.fixture
def experiments(config):
    """Two experiments of the station."""
    store = open_experiments(config)
    store.create(NewExperiment(name="gel", proposal="0012", esaf="34"), actor="me")
    store.create(NewExperiment(name="glass"), actor="me")
    store.close()


KEYS = ("experiment", "station", "proposal", "esaf")
OF_GEL = {"experiment": "gel", "station": "simulated", "proposal": "0012", "esaf": "34"}


def test_runs_tell_of_their_experiment(config, experiments):
    """Every later session takes its runs for it, too; what is given for a run goes before."""
    starts = []

    def told(session, **metadata):
        session.RE([Msg("open_run"), Msg("close_run")], **metadata)
        return {key: starts[-1][key] for key in KEYS if key in starts[-1]}

    with open_session(config) as session:
        session.RE.subscribe(lambda _, doc: starts.append(doc), "start")
        assert session.experiment is None
        assert told(session) == {}
        assert session.use_experiment("gel") == session.experiment == session.experiments.get("gel")
        assert told(session) == OF_GEL
        assert told(session, proposal="5") == OF_GEL | {"proposal": "5"}
        assert told(session, experiment="other") == {"experiment": "other"}
        session.RE.md["experiment"] = "by hand"
        assert told(session) == {"experiment": "by hand"}
        del session.RE.md["experiment"]
        with pytest.raises(ExperimentError, match="experiment 'nope' of station 'simulated' is not known"):
            session.use_experiment("nope")
        assert told(session) == OF_GEL
    with open_session(config) as session:
        session.RE.subscribe(lambda _, doc: starts.append(doc), "start")
        assert session.experiment.name == session.experiment_name == "gel"
        session.RE(xpcs_series(session.devices["sim_det"], 20, acquire_period=0.005))
        assert {key: starts[-1][key] for key in KEYS} == OF_GEL
        analysis = session.reducers["sim_det"].last
        assert analysis.ended.wait(60)
        (spooled,) = [run for run in Spool(config.folders.spool).runs() if run.uid == analysis.uid]
        assert {key: spooled.start[key] for key in KEYS} == OF_GEL
        session.use_experiment("glass")
        assert told(session) == {"experiment": "glass", "station": "simulated"}
        assert session.use_experiment(None) is session.experiment is None
        assert told(session) == {}
    assert CurrentExperiment(config.folders.experiments).get() is None


def test_daqs_are_of_the_experiment_of_the_session(config, experiments, tmp_path):
    folder = tmp_path / "detector"
    folder.mkdir()
    with open_session(config) as session:
        with pytest.raises(ExperimentError, match="none goes on: name one, or use_experiment"):
            session.daqs.start(folder)
        session.use_experiment("gel")
        of_gel = session.daqs.get(session.daqs.start(folder))
        assert (of_gel.experiment, of_gel.root) == ("gel", session.experiment.root)
        assert session.daqs.get(session.daqs.upload(folder, "glass")).experiment == "glass"
        with pytest.raises(WorkflowError, match="reduce"):
            session.daqs.upload(folder, workflow="reduce")
        assert len(session.daqs.list(experiment="gel")) == 1


def test_a_current_experiment_that_is_not_known_opens_no_session(config, experiments):
    CurrentExperiment(config.folders.experiments).set("gone")
    with pytest.raises(
        ExperimentError, match=r"the current experiment 'gone' .* is not known.*experiment use"
    ):
        open_session(config)


def test_without_the_list_runs_name_their_experiment(config, experiments, caplog):
    """The list is a database that may be away; the detector does not wait for it."""
    CurrentExperiment(config.folders.experiments).set("gel")
    (config.folders.experiments / "experiments.sqlite").write_bytes(b"no database" * 100)
    with open_session(config) as session:
        assert "runs name experiment gel, but neither its proposal nor its ESAF" in caplog.text
        starts = []
        session.RE.subscribe(lambda _, doc: starts.append(doc), "start")
        session.RE([Msg("open_run"), Msg("close_run")])
        assert {key: starts[-1][key] for key in KEYS if key in starts[-1]} == {"experiment": "gel"}
        with pytest.raises(StorageError):
            _ = session.experiment


def test_an_exception_inside_ends_everything(config):
    before, own = children(os.getpid()), {}

    def work():
        with open_session(config) as session:
            own.update({pid: name for pid, name in children(os.getpid()).items() if pid not in before})
            _ = session.devices["sim_det"].received / 0

    with pytest.raises(ZeroDivisionError):
        work()
    assert list(own.values()) == ["apsdm_bluesky.sim.ioc"]
    all_gone(own)
    with open_session(config):  # nothing is locked
        pass


def test_two_detectors_of_a_beamline(config, tmp_path):
    detectors = {name: DetectorConfig(prefix=f"{name}:") for name in ("near", "far")}
    real = BeamlineConfig(home=config.home, server=config.server, detectors=detectors)
    with DetectorProcess("near:", SMALL), DetectorProcess("far:", SMALL), open_session(real) as session:
        assert session.reducers == {}  # no reduction.qmap, no live reduction
        for name in ("near", "far"):
            documents = []
            token = session.RE.subscribe(lambda kind, doc, kept=documents: kept.append((kind, doc)))
            session.RE(xpcs_series(session.devices[name], 10, acquire_period=0.005))
            session.RE.unsubscribe(token)
            assert documents[-1][1]["reason"] == "10 of 10 frames"


def test_a_detector_that_does_not_answer(config, monkeypatch):
    monkeypatch.setattr("apsdm_bluesky.session._CONNECT_TIMEOUT_S", 0.5)
    dead = BeamlineConfig(home=config.home, server=config.server, detectors={"det": {"prefix": "nobody:"}})
    with pytest.raises(AcquisitionError, match=r"detector det: its IOC \(nobody:\) does not answer in 0.5 s"):
        open_session(dead)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("missing.yml", ConfigError),
        (BeamlineConfig(home="/dev/null/home"), ApsdmError),
        (BeamlineConfig(home="100%"), ConfigError),
        (BeamlineConfig(reduction=ReductionConfig(qmap=QMapConfig(file="missing.h5"))), FormatError),
    ],
)
def test_what_cannot_be_opened_is_told_in_one_line(given, error):
    with pytest.raises(error) as caught:
        open_session(given)
    assert "\n" not in str(caught.value)


def test_rings_of_the_configuration_are_used(config):
    rings = QMapConfig(center=(30, 20), dynamic_bins=3)
    with open_session(config.model_copy(update={"reduction": ReductionConfig(qmap=rings)})) as session:
        session.RE(xpcs_series(session.devices["sim_det"], 40, acquire_period=0.005))
        analysis = session.reducers["sim_det"].last
        assert analysis.ended.wait(60)
        assert len(analysis.result.qmap.q) == 3


def test_scan_numbers_are_one_sequence(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: next_scan_id(tmp_path / "scan_id", {}), range(200)))
    assert sorted(numbers) == list(range(1, 201))


@pytest.mark.parametrize("content", ["", "seven", "\x00"])
def test_a_damaged_scan_number_is_told(tmp_path, content):
    (tmp_path / "scan_id").write_text(content)
    with pytest.raises(StorageError, match="the scan number cannot be kept there"):
        next_scan_id(tmp_path / "scan_id", {})


def test_a_session_that_is_killed(beamline, tmp_path):
    """What it had spooled arrives, the run stands as aborted, and its detector is gone."""
    command = [sys.executable, "-m", "tests.session_to_kill", str(beamline.config_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            uid = process.stdout.readline().strip()
            assert uid
            pids = children(process.pid)
        finally:
            process.send_signal(signal.SIGKILL)
    all_gone(pids)
    assert "apsdm_bluesky.sim.ioc" in pids.values()
    wait_for(lambda: beamline.stop_document(uid), 60, "the run in the catalogue")
    assert beamline.stop_document(uid)["exit_status"] == "abort"
    image = beamline.client["raw"][uid]["primary"]["sim_det_image"]
    assert len(image) > 0
    assert np.any(image[0])


def test_live_results_are_those_of_the_analysis_run(beamline, tmp_path):
    """A display is connected before the first run, and its channels stay for the next one."""
    config = beamline.config.model_copy(
        update={"simulation": SMALL, "reduction": ReductionConfig(interval_s=0.05, on_overflow="block")}
    )
    images = [0]
    with open_session(config) as session:
        for frames in (300, 400):  # more than a batch
            file = tmp_path / f"{frames}.npz"
            with display("apsdm:sim:APSDM:", frames, file):
                session.RE(xpcs_series(session.devices["sim_det"], frames, acquire_period=0.002))
                analysis = session.reducers["sim_det"].last
                assert analysis.ended.wait(60)
            shown = assert_shows(file, analysis.result)
            assert shown["missing"] == 0
            images.append(shown["sum.uniqueId"])
            assert images[-1] >= images[-2] + 2  # a running result, and the last one
        assert session.wait_delivered(60)
        (event,) = session.catalog["processed"][analysis.uid]["primary"]["g2"].read()
        np.testing.assert_array_equal(event, analysis.result.multitau.g2)


def test_live_output_can_be_off_or_fail(config, caplog):
    with open_session(config.model_copy(update={"live_output": LiveOutputConfig(enabled=False)})):
        assert caplog.text == ""
    elsewhere = LiveOutputConfig(interface="192.0.2.77")
    with open_session(config.model_copy(update={"live_output": elsewhere})) as session:
        assert "no PVA server at 192.0.2.77" in caplog.text
        session.RE(xpcs_series(session.devices["sim_det"], 20, acquire_period=0.005))
        assert session.reducers["sim_det"].last.ended.wait(60)
        assert session.reducers["sim_det"].last.result.saxs.frames == 20
