"""A run of a simulated detector, and the agent's jobs thread beside it: where shipped workflows are tried."""

import pytest

from apsdm_bluesky.agent import jobs_thread
from apsdm_bluesky.config import BeamlineConfig, DetectorConfig, SimulationConfig
from apsdm_bluesky.plans import xpcs_series
from apsdm_bluesky.session import open_session
from apsdm_bluesky.workflows.jobs import ENDED, State
from tests.waiting import wait_for

FRAMES = 40


@pytest.fixture(scope="module")
def shipped_config(tiled_server):
    return BeamlineConfig(
        home=tiled_server.config.home,
        server={"port": 0},
        detectors={"sim_det": DetectorConfig(prefix="ship:")},
        simulation=SimulationConfig(shape=(48, 64), seed=9, mean_counts=0.5, beam_stop_radius=0),
    )


@pytest.fixture(scope="module")
def shipped_run(shipped_config):
    """A raw run's uid, and its live analysis."""
    with open_session(shipped_config) as session:
        device = session.devices["sim_det"]
        (uid,) = session.RE(xpcs_series(device, FRAMES, acquire_period=0.002, acquire_time=0.002))
        analysis = session.reducers["sim_det"].last
        assert analysis.ended.wait(240)
        assert session.wait_delivered(60)
    return uid, analysis


@pytest.fixture(scope="module")
def job_store(shipped_config):
    with jobs_thread(shipped_config, actor="test") as store:
        yield store


def perform(store, asked):
    """The jobs of workflows, each done: all at once, as each process first imports for seconds."""
    started = {
        name: store.submit(store.definitions.get(name), arguments, owner="ann").id
        for name, arguments in asked.items()
    }
    wait_for(lambda: all(store.get(job).state in ENDED for job in started.values()), 280, "their end")
    return {name: _done(store, job) for name, job in started.items()}


def _done(store, uid):
    job = store.get(uid)
    said = [(each.stdout, each.stderr) for each in store.attempts(uid, job.stage)]
    assert job.state is State.DONE, (job.reason, said)
    return job


def g2_of(run):
    return {key: run["primary"][key].read()[0] for key in ("q", "delays", "g2", "g2_err")}
