"""The whole story: a run ends, its job fails, somebody sees why and runs it again, to a result."""

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import expect

from apsdm_bluesky.agent import agent_process
from apsdm_bluesky.config import BeamlineConfig, DetectorConfig, SimulationConfig
from apsdm_bluesky.plans import xpcs_series
from apsdm_bluesky.session import open_session
from apsdm_bluesky.workflows.jobs import JobFilter, JobStore
from tests.waiting import wait_for

from .chromium import LONG_MS, chromium, tab

RULE = {
    "name": "reanalyse",
    "workflow": "apsdm/xpcs-reanalysis",
    "plan": "xpcs_*",
    "arguments": {"uid": "$uid", "rings": "many"},
}


@pytest.fixture(scope="module")
def config(tiled_server):
    return BeamlineConfig(
        home=tiled_server.config.home,
        server={"port": 0},
        detectors={"sim_det": DetectorConfig(prefix="story:")},
        simulation=SimulationConfig(shape=(48, 64), seed=3, mean_counts=0.5, beam_stop_radius=0),
        workflows={"triggers": [RULE]},
    )


@pytest.fixture(scope="module")
def store(config):
    found = JobStore(config.folders.jobs)
    yield found
    found.close()


def take(config):
    """The uid of a run, and of its live result."""
    with open_session(config) as session:
        device = session.devices["sim_det"]
        (uid,) = session.RE(xpcs_series(device, 40, acquire_period=0.002, acquire_time=0.002))
        analysis = session.reducers["sim_det"].last
        assert analysis.ended.wait(240)
        assert session.wait_delivered(60)
    return uid


def test_from_the_end_of_a_run_to_a_result_in_the_catalogue(tiled_server, config, store):
    with (
        agent_process(config, uri=tiled_server.uri, api_key=tiled_server.api_key),
        chromium() as browser,
        tab(browser, tiled_server, "chief") as page,
    ):
        uid = take(config)
        wait_for(lambda: store.list(JobFilter(run=uid)), 60, "the job that the run asks for")
        (job,) = store.list(JobFilter(run=uid))

        page.goto(f"/jobs?run={uid}")
        page.get_by_role("link", name=job.id[:8]).click()
        state = page.get_by_role("status")
        expect(state).to_have_text("failed", timeout=2 * LONG_MS)
        expect(page.get_by_role("region", name="Why")).to_contain_text("rings")
        expect(page.get_by_label("From stage")).to_have_value("reduce")

        page.get_by_label("rings").fill("3")
        page.get_by_role("button", name="Run again").click()
        expect(state).to_have_text("done", timeout=2 * LONG_MS)
        again = store.get(page.url.rpartition("/")[2])
        result = again.variables["result_uid"]
        link = page.get_by_role("link", name=str(result)).first
        assert link.get_attribute("href") == f"/ui/browse/processed/{result}"
        expect(page.get_by_role("link", name=uid)).to_be_visible()

    assert (again.parent, again.run, again.first) == (job.id, uid, 1)
    with tiled_server.client() as client:
        start = client["processed"][result].metadata["start"]
        rings = client["processed"][result]["primary"]["q"].read()[0]
    assert (start["job"], start["raw_uid"], len(rings)) == (again.id, uid, 3)
