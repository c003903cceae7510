"""`apsdm archive rebuild`, between two agents."""

import json
import shutil

import pytest

from apsdm_bluesky.agent import agent_process
from apsdm_bluesky.archive import AgentLock, Ledger, State
from tests.archive.samples import SampleBeamline
from tests.commands import apsdm, told
from tests.waiting import wait_for


@pytest.fixture
def sample(tmp_path):
    beamline = SampleBeamline(tmp_path / "home")
    yield beamline
    beamline.session.close()


@pytest.fixture
def config(sample, write_config):
    return write_config(name=sample.config.name)


def archive(sample) -> None:
    """A real agent brings all runs to VERIFIED."""
    ledger = Ledger(sample.folders.archive)

    def done():
        runs = ledger.runs.list()
        return runs and all(run.state is State.VERIFIED for run in runs)

    with agent_process(sample.config):
        wait_for(done, 60, "verified runs")
    ledger.close()


def lose_ledger(sample) -> None:
    for path in sample.folders.archive.glob("ledger.sqlite*"):
        path.unlink()
    shutil.rmtree(sample.folders.archive / "bundles")


def test_the_ledger_comes_back_and_the_agent_verifies_it(sample, config):
    for uid in ("one", "two"):
        sample.take(uid, experiment="e1")
    archive(sample)
    before = json.loads(apsdm("archive", "ls", "--json", "--config", config).stdout)
    lose_ledger(sample)
    dry = json.loads(apsdm("archive", "rebuild", "--dry-run", "--json", "--config", config).stdout)
    found = json.loads(apsdm("archive", "rebuild", "--json", "--config", config).stdout)
    assert (dry.pop("dry_run"), found.pop("dry_run")) == (True, False)
    assert dry == found
    assert [(entry["bundle"], entry["state"]) for entry in found["entered"]] == [
        ("one", "COPIED"),
        ("two", "COPIED"),
    ]
    archive(sample)
    after = json.loads(apsdm("archive", "ls", "--json", "--config", config).stdout)
    for listing in (before, after):
        for run in listing["runs"]:
            del run["created"], run["updated"]
    assert after == before
    again = apsdm("archive", "rebuild", "--config", config).stdout
    assert again == "0 bundles entered; the agent reads them back, 2 are in the ledger already\n"


def test_it_is_refused_while_an_agent_works(sample, config):
    with AgentLock(sample.folders.archive):
        done = apsdm("archive", "rebuild", "--config", config, check=False)
    assert done.returncode == 1
    assert "another agent works on it (pid " in told(done)


def test_what_is_not_entered_is_listed_and_the_exit_code_says_so(sample, config):
    sample.take("one")
    archive(sample)
    lose_ledger(sample)
    (tape,) = sample.folders.tape.glob("test/*/*")
    (tape / "one.manifest.json").write_bytes(b"[" * 100_000)
    (tape / "a\x1b[2J.manifest.json").write_bytes(b"{}")
    done = apsdm("archive", "rebuild", "--config", config, check=False)
    assert done.returncode == 1
    assert told(done) == "3 files at the destination were not entered; they are listed with their reasons"
    lines = done.stdout.splitlines()
    assert lines[0].startswith(r"refused    test/2023/11/a\x1b[2J.manifest.json: ")
    assert lines[1].startswith("refused    test/2023/11/one.manifest.json: ")
    assert lines[2] == "no manifest test/2023/11/one.tar"
    assert "\x1b" not in done.stdout


def test_an_unknown_destination(sample, config):
    done = apsdm("archive", "rebuild", "--collection", "mars", "--config", config, check=False)
    assert told(done) == "--collection 'mars': only local is configured"
