"""`apsdm archive restore`, `verify`, `drill`, `cancel`, with the real agent."""

import json
import shutil
import signal

import pytest

from apsdm_bluesky.agent import agent_process
from apsdm_bluesky.archive import Ledger, LocalCopy, ReadingState, ReleaseAsked, State
from tests.archive.reading import contents
from tests.archive.samples import SampleBeamline
from tests.commands import apsdm, started, told
from tests.waiting import wait_for

UID = "29ab7abb-0001"


@pytest.fixture
def sample(tmp_path, write_config):
    beamline = SampleBeamline(tmp_path / "home", keep_days=0)
    beamline.file = write_config(archive={"keep_days": 0}, name="test")
    beamline.take(UID)
    with agent_process(beamline.config):
        wait_for(lambda: entry(beamline) and entry(beamline).state is State.VERIFIED, 60, "VERIFIED")
    yield beamline
    beamline.session.close()


def ask(sample, work):
    ledger = Ledger(sample.folders.archive)
    try:
        return work(ledger)
    finally:
        ledger.close()


def entry(sample):
    return ask(sample, lambda ledger: ledger.runs.get(UID))


def archive(sample, *arguments, **options):
    return apsdm("archive", *arguments, "--config", sample.file, **options)


def test_release_and_restore(sample):
    before = contents(sample.folders.raw)
    with agent_process(sample.config):
        ask(sample, lambda ledger: ledger.runs.apply(UID, ReleaseAsked(rule="a test"), actor="test"))
        wait_for(lambda: entry(sample).local is LocalCopy.RELEASED, 60, "RELEASED")
        done = archive(sample, "restore", "29ab", "--json")
    found = json.loads(done.stdout)
    assert found["run"] == UID
    assert found["files"] == {
        "written": len(before) - 1,
        "adopted": 1,
        "bytes": sum(path.stat().st_size for path in sample.folders.raw.rglob("*") if path.is_file()),
    }
    assert [one["state"] for one in found["readings"]] == ["RESTORED"]
    wait_for(lambda: contents(sample.folders.raw) == before, message="the tombstone gone")
    assert entry(sample).local is LocalCopy.HELD


def test_a_member_to_a_folder_tells_what_it_did(sample, tmp_path):
    wanted = f"raw/{UID}.zarr/image/zarr.json"
    with agent_process(sample.config):
        done = archive(sample, "restore", UID, "--member", wanted, "--to", tmp_path / "there")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"run {UID}: 1 bundle of ")
    assert lines[-1].startswith(f"run {UID}: 1 files (")
    assert lines[-1].endswith(f"in {tmp_path / 'there'}, 0 were there")
    assert list(contents(tmp_path / "there")) == [wanted]


def test_without_an_agent_the_request_is_kept(sample):
    before = contents(sample.folders.raw)
    shutil.rmtree(sample.folders.raw)
    for arguments in (["--no-wait"], []):
        done = archive(sample, "restore", UID, *arguments, check=False)
        assert done.returncode == 1
        if arguments:
            assert "is kept, but no agent runs here" in told(done)
        else:
            assert "restores it already" in told(done)
    with agent_process(sample.config):
        wait_for(lambda: contents(sample.folders.raw) == before, 60, "the files")


def test_only_where_it_is_needed_and_not_for_ever(sample):
    for uid in (UID, "ffffffff"):  # held, and not known to the archive: no agent need run
        assert json.loads(archive(sample, "restore", uid, "--if-needed", "--json").stdout)["job"] is None
    with agent_process(sample.config):
        ask(sample, lambda ledger: ledger.runs.apply(UID, ReleaseAsked(rule="a test"), actor="test"))
        wait_for(lambda: entry(sample).local is LocalCopy.RELEASED, 60, "RELEASED")
    asked = json.loads(archive(sample, "restore", UID, "--no-wait", "--json", check=False).stdout)
    with agent_process(sample.config) as agent:
        agent.send_signal(signal.SIGSTOP)
        if entry(sample).local is LocalCopy.RESTORING:  # else the agent was faster than its signal
            late = archive(sample, "restore", UID, "--if-needed", "--timeout", 0, check=False)
            assert told(late) == f"job {asked['job']} takes longer than 0 s; the agent goes on with it"
        agent.send_signal(signal.SIGCONT)
        archive(sample, "restore", UID, "--if-needed")
        assert entry(sample).local is LocalCopy.HELD


def test_interrupted_the_agent_goes_on(sample):
    before = contents(sample.folders.raw)
    shutil.rmtree(sample.folders.raw)
    in_the_way = sample.folders.raw / f"{UID}.zarr/image"
    in_the_way.parent.mkdir(parents=True)
    with agent_process(sample.config) as agent:
        agent.send_signal(signal.SIGSTOP)
        with started("archive", "restore", UID, "--config", sample.file) as command:
            wait_for(lambda: ask(sample, lambda it: it.readings.list()), message="the request")
            wait_for(lambda: "WAITING" in command.stdout.readline(), message="that it waits")
            command.send_signal(signal.SIGINT)
            errors = command.stderr.read()
            assert command.wait(30) == 130
        assert "the agent goes on with job" in errors
        agent.send_signal(signal.SIGCONT)
        wait_for(lambda: contents(sample.folders.raw) == before, 60, "the files")


def test_what_is_in_the_way_is_told_cancelled_and_resumed(sample):
    before = contents(sample.folders.raw)
    other = sample.folders.raw / f"{UID}.zarr/image/zarr.json"
    other.write_bytes(b"somebody's")
    with agent_process(sample.config):
        done = archive(sample, "restore", UID, check=False)
        assert done.returncode == 1
        assert "never overwritten" in told(done)
        archive(sample, "cancel", UID)
        assert "nothing is being read back" in told(archive(sample, "cancel", UID, check=False))
        assert archive(sample, "restore", UID, check=False).returncode == 1
        other.unlink()
        assert "is read back, FETCHED" in archive(sample, "resume", UID).stdout
        wait_for(lambda: contents(sample.folders.raw) == before, 60, "the files")


def test_verify_and_drill(sample):
    with agent_process(sample.config):
        assert "1 bundle read again" in archive(sample, "verify", UID).stdout
        done = archive(sample, "drill", "--bundles", "3", "--json")
        report = json.loads(done.stdout)
        assert report["drill"] == {"checked": 1, "bad": 0, "share_below": pytest.approx(0.95)}
        tar = sample.folders.tape / ask(sample, lambda ledger: ledger.get(UID)).destination
        data = bytearray(tar.read_bytes())
        data[len(data) // 2] ^= 1
        tar.write_bytes(data)
        done = archive(sample, "drill", check=False)
        assert done.returncode == 1
        assert "this drill: 1 bundles checked, 1 bad" in done.stdout
        assert "all drills: 2 bundles checked, 1 bad" in done.stdout
        assert "came with sha256" in told(done)
        for command in ("verify", "restore"):
            done = archive(sample, command, UID, check=False)
            assert done.returncode == 1
            assert "is PARKED, only a verified run is" in told(done)
        assert "no bundle is verified yet" in told(archive(sample, "drill", check=False))
    states = [one.state for one in ask(sample, lambda ledger: ledger.readings.list())]
    assert states == [ReadingState.CHECKED, ReadingState.CHECKED, ReadingState.FAILED]


def test_unknown_and_ambiguous_runs(sample):
    assert "the archive knows none" in told(archive(sample, "restore", "ffff", check=False))
    assert "no such member" in told(archive(sample, "restore", UID, "--member", "x", check=False))
    assert archive(sample, "restore", check=False).returncode == 2
