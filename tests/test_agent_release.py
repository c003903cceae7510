"""Release by the real agent process, and what may happen to it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from apsdm_bluesky.agent import agent_process
from apsdm_bluesky.archive import Ledger, ReleaseAsked, State
from tests.archive.samples import SampleBeamline
from tests.test_agent import wait_for_state

HERE = Path(__file__).parent


@pytest.fixture
def sample(tmp_path):
    beamline = SampleBeamline(tmp_path / "home", keep_days=0)
    yield beamline
    beamline.session.close()


def ask(sample, uid):
    ledger = Ledger(sample.folders.archive)
    ledger.runs.apply(uid, ReleaseAsked(rule="a test"), actor="test")
    ledger.close()


def test_killed_at_every_durable_step_is_released_and_never_without_a_tombstone(sample, tmp_path):
    frames = sample.take("raw", rows=20)
    with agent_process(sample.config):
        wait_for_state(sample.config, "raw", State.VERIFIED)
    ask(sample, "raw")
    sample.session.close()
    whole = {
        str(path.relative_to(sample.folders.raw)) for path in sample.folders.raw.rglob("*") if path.is_file()
    }
    inside = {name for name in whole if "/image/" in name}
    script = [sys.executable, "-m", "tests.dying_release", sample.folders.root, tmp_path / "template"]
    run = subprocess.run(script, capture_output=True, text=True, timeout=240, cwd=HERE.parent)
    assert run.returncode == 0, run.stderr
    outcomes = [json.loads(line) for line in run.stdout.splitlines()]
    partly = 0
    for outcome in outcomes:
        killed, end = outcome["killed"], outcome["end"]
        there = set(killed["files"])
        assert killed["tombstones"] in ([], ["raw"]), outcome
        assert killed["tombstones"] or there == whole, outcome
        assert killed["local"] in ("RELEASING", "RELEASED"), outcome
        assert killed["local"] == "RELEASING" or not there & inside, outcome
        if there & inside != inside and there & inside:
            partly += 1
            assert f"{frames.parent.name}/image/zarr.json" not in there, "else it would read as zeros"
        assert outcome["again"] == 0, outcome
        assert (end["local"], end["tombstones"], end["left"]) == ("RELEASED", ["raw"], []), outcome
        assert set(end["files"]) == whole - inside, outcome
        assert end["folders"] == ["raw.zarr"], outcome
        assert end["events"].count("LocalRemoved") == 1, outcome
    assert partly > 3, "the agent was hardly ever killed between two files"
    codes = [outcome["code"] for outcome in outcomes]
    assert codes == [-signal.SIGKILL] * (len(codes) - 1) + [0]
