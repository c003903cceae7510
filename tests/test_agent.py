"""The real agent process, and what may happen to it."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from apsdm_bluesky.agent import Agent, agent_process, agent_runs, archive_status
from apsdm_bluesky.archive import Ledger, State, decode_manifest
from apsdm_bluesky.errors import LockedError, ServiceError
from apsdm_bluesky.spool import Spool
from tests.archive.samples import TIME, SampleBeamline
from tests.waiting import wait_for

HERE = Path(__file__).parent


@pytest.fixture
def sample(tmp_path):
    beamline = SampleBeamline(tmp_path / "home")
    yield beamline
    beamline.session.close()


def states(config) -> dict[str, str]:
    ledger = Ledger(config.folders.archive)
    try:
        return {entry.uid: entry.state for entry in ledger.runs.list()}
    finally:
        ledger.close()


def wait_for_state(config, uid: str, *wanted: State) -> None:
    wait_for(lambda: states(config).get(uid) in wanted, 60, f"run {uid} {wanted}")


def tape_tars(sample) -> list[Path]:
    return sorted(sample.folders.tape.rglob("*.tar"))


def test_archives_what_was_there_before_and_what_comes(sample):
    sample.take("before")
    with agent_process(sample.config) as process:
        wait_for_state(sample.config, "before", State.VERIFIED)
        sample.take("later")
        wait_for_state(sample.config, "later", State.VERIFIED)
        status = archive_status(sample.config)
        assert status["counts"] == {"VERIFIED": 2}
        assert f"pid {process.pid} " in status["running"]
        json.dumps(status)
    assert process.returncode == 0
    assert not agent_runs(sample.config)
    assert archive_status(sample.config)["running"] is None


@pytest.mark.fault(1)
def test_killed_at_every_durable_step_ends_with_one_bundle_one_task_one_record(sample, tmp_path):
    sample.take("raw")
    sample.session.close()
    script = [sys.executable, "-m", "tests.dying_agent", sample.folders.root, tmp_path / "template"]
    run = subprocess.run(script, capture_output=True, text=True, timeout=240, cwd=HERE.parent)
    assert run.returncode == 0, run.stderr
    outcomes = [json.loads(line) for line in run.stdout.splitlines()]
    digests = set()
    for outcome in outcomes:
        assert outcome["again"] == 0, outcome
        assert outcome["records"]["raw"][0] == "VERIFIED", outcome
        digests.add(outcome["records"]["raw"][1])
        assert (outcome["sent"], outcome["left"], outcome["readback"]) == (1, [], []), outcome
        assert outcome["tape"] == ["raw.manifest.json", "raw.tar"], outcome
        assert outcome["bundles"] == ["raw.manifest.json"], outcome
    assert len(digests) == 1
    codes = [outcome["code"] for outcome in outcomes]
    assert codes == [-signal.SIGKILL] * (len(codes) - 1) + [0]
    assert len(codes) > 30, "the agent was hardly ever killed"


@pytest.mark.fault(1)
def test_killed_whenever_a_new_state_shows(sample):
    sample.take("raw")
    seen: set[str] = set()
    while "VERIFIED" not in seen:
        with agent_process(sample.config) as process:
            wait_for(lambda old=frozenset(seen): set(states(sample.config).values()) - old, 60, "a new state")
            process.kill()
            seen |= set(states(sample.config).values())
    assert len(tape_tars(sample)) == 1
    ledger = Ledger(sample.folders.archive)
    assert [entry.event for entry in ledger.history("raw")].count("Bundled") == 1
    ledger.close()


@pytest.mark.fault(4)
def test_second_agent_refuses_and_names_the_first(sample):
    with agent_process(sample.config) as process:
        with pytest.raises(LockedError, match=f"pid {process.pid} on .* since 20"):
            Agent(sample.config, uri=None, api_key=None).run(threading.Event())
        with (
            pytest.raises(ServiceError, match=f"another agent works on it .pid {process.pid} on"),
            agent_process(sample.config),
        ):
            pass
        assert process.poll() is None
        process.kill()
        process.wait()
        assert not agent_runs(sample.config), "the lock ends with its holder"


def test_looking_at_the_lock_does_not_disturb(sample):
    assert not agent_runs(sample.config)
    assert not sample.folders.archive.exists(), "nothing is created by looking"


def test_ends_when_its_parent_is_killed(sample):
    parent = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from apsdm_bluesky.agent import agent_process\n"
        "from apsdm_bluesky.config import BeamlineConfig\n"
        "with agent_process(BeamlineConfig(home=Path(sys.argv[1]))) as process:\n"
        "    print(process.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent, sample.folders.root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert int(process.stdout.readline())
        assert agent_runs(sample.config)
        process.kill()
    wait_for(lambda: not agent_runs(sample.config), 30, "the end of the orphaned agent")


@pytest.mark.fault(2)
def test_run_of_a_killed_session_is_closed_as_aborted_and_archived(tmp_path):
    session = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.archive.samples import SampleBeamline\n"
        "sample = SampleBeamline(Path(sys.argv[1]))\n"
        "frames = sample.write_frames('raw')\n"
        "sample.start('raw')\n"
        "sample.refer('raw', f'file://localhost{frames}', rows=10)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", session, tmp_path / "home"], cwd=HERE.parent)
    assert killed.returncode == -signal.SIGKILL
    sample = SampleBeamline(tmp_path / "home")
    with agent_process(sample.config):
        wait_for_state(sample.config, "raw", State.VERIFIED)
    sample.session.close()
    (run,) = Spool(sample.folders.spool).runs()
    assert run.stop["exit_status"] == "abort"
    manifest = decode_manifest((sample.folders.archive / "bundles/raw.manifest.json").read_bytes())
    assert manifest.runs[0].exit_status == "abort"
    assert run.start["time"] == TIME


def test_dead_catalogue_does_not_hold_up_the_archive(sample):
    sample.start("orphan")
    sample.session.close()
    with agent_process(sample.config, uri="http://127.0.0.1:1", api_key="none") as process:
        wait_for_state(sample.config, "orphan", State.VERIFIED)
    assert process.returncode == 0
    (run,) = Spool(sample.folders.spool).runs()
    assert (run.stop["exit_status"], run.delivered) == ("abort", False)


@pytest.mark.fault(5)
def test_full_disk_while_bundling_is_parked_and_goes_on_when_space_returns(sample):
    folder = sample.folders.archive / "bundles"
    folder.mkdir(parents=True)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", folder], capture_output=True)
    if mount.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        sample.take("big", rows=2000)
        sample.take("small")
        with agent_process(sample.config):
            wait_for_state(sample.config, "big", State.PARKED)
            wait_for_state(sample.config, "small", State.VERIFIED)
            (record,) = archive_status(sample.config)["bundles"]
            assert "No space left" in record["reason"]
            assert not record["needs_person"]
            assert [path.name for path in folder.iterdir() if path.name.startswith("big")] == []
            subprocess.run(["mount", "-o", "remount,size=8m", folder], check=True)
            wait_for_state(sample.config, "big", State.VERIFIED)
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.fault(6)
def test_full_disk_under_the_ledger_loses_nothing(sample):
    folder = sample.folders.archive
    folder.mkdir(parents=True)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True)
    if mount.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        sample.take("before")
        with agent_process(sample.config) as process:
            wait_for_state(sample.config, "before", State.VERIFIED)
            filler = folder / "filler"
            subprocess.run(
                ["dd", "if=/dev/zero", f"of={filler}"], stderr=subprocess.DEVNULL
            )  # until it is full
            sample.take("full")
            log = sample.folders.logs / "agent.log"
            wait_for(lambda: "full" in log.read_text() or "space" in log.read_text(), 30, "the trouble")
            assert process.poll() is None
            filler.unlink()
            wait_for_state(sample.config, "full", State.VERIFIED)
    finally:
        subprocess.run(["umount", folder], check=True)


def test_unwritable_state_folder_is_told_in_one_line(sample):
    sample.folders.archive.write_bytes(b"a file, where a folder should be")
    with pytest.raises(ServiceError, match="archive: ") as told, agent_process(sample.config):
        pass
    assert "\n" not in str(told.value)


def test_bad_order_does_not_start(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "apsdm_bluesky.agent"],
        input='{"config": {"home": "/nowhere", "unknown": 1}}\n',
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "APSDM_HOME": str(tmp_path)},
    )
    assert run.returncode == 1
    assert "unknown" in json.loads(run.stdout)["error"]
