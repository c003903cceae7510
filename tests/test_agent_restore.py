"""Reading back by the real agent process, and what may happen to it."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from apsdm_bluesky.agent import agent_process
from apsdm_bluesky.archive import (
    Ledger,
    LocalCopy,
    ReadingState,
    ReleaseAsked,
    State,
    cancel_job,
    request_restore,
    request_verify,
)
from tests.archive.reading import ReadingDriver, contents
from tests.archive.samples import SampleBeamline
from tests.globus import config_of
from tests.waiting import wait_for

ROOT = Path(__file__).parent.parent


class Beamline(SampleBeamline):
    """With what is asked of its archive."""

    def __init__(self, home: Path, **archive) -> None:
        super().__init__(home, keep_days=0, **archive)

    def ask(self, work):
        ledger = Ledger(self.folders.archive)
        try:
            return work(ledger)
        finally:
            ledger.close()

    def local(self, uid: str) -> LocalCopy | None:
        entry = self.ask(lambda ledger: ledger.runs.get(uid))
        return None if entry is None else entry.local

    def state(self, uid: str) -> State | None:
        entry = self.ask(lambda ledger: ledger.runs.get(uid))
        return None if entry is None else entry.state

    def release(self, uid: str) -> None:
        wait_for(lambda: self.state(uid) is State.VERIFIED, 60, f"run {uid} VERIFIED")
        self.ask(lambda ledger: ledger.runs.apply(uid, ReleaseAsked(rule="a test"), actor="test"))
        wait_for(lambda: self.local(uid) is LocalCopy.RELEASED, 60, f"run {uid} RELEASED")

    def restore(self, uid: str, **wanted) -> str:
        return self.ask(
            lambda ledger: request_restore(ledger, uid, actor="test", archive=self.folders.archive, **wanted)
        )

    def job(self, job: str):
        return self.ask(lambda ledger: ledger.readings.job(job))

    def wait_for_job(self, job: str, *wanted: ReadingState):
        wait_for(lambda: {one.state for one in self.job(job)} <= set(wanted), 60, f"job {job} {wanted}")
        return self.job(job)

    def tidy(self) -> bool:
        scratch = self.folders.archive / "restore"
        return not (scratch.is_dir() and any(scratch.iterdir()))


@pytest.fixture
def sample(tmp_path):
    beamline = Beamline(tmp_path / "home")
    yield beamline
    beamline.session.close()


def test_a_run_is_released_and_comes_back(sample):
    sample.take("raw")
    before = contents(sample.folders.raw)
    with agent_process(sample.config):
        sample.release("raw")
        assert contents(sample.folders.raw) != before
        sample.wait_for_job(sample.restore("raw"), ReadingState.RESTORED)
        assert sample.local("raw") is LocalCopy.HELD
        wait_for(sample.tidy, message="the scratch files gone")
    assert contents(sample.folders.raw) == before


@pytest.mark.fault(26)
def test_killed_at_every_durable_step_a_restore_ends_with_the_same_files(tmp_path):
    sample = Beamline(tmp_path / "home")
    sample.take("raw", rows=4)
    sample.session.close()
    before = contents(sample.folders.raw)
    driver = ReadingDriver(sample)
    driver.until("raw", State.VERIFIED)
    driver.released("raw")
    driver.restore("raw")
    driver.close()
    script = [sys.executable, "-m", "tests.dying_restore", sample.folders.root, tmp_path / "template"]
    run = subprocess.run(script, capture_output=True, text=True, timeout=240, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    outcomes = [json.loads(line) for line in run.stdout.splitlines()]
    for outcome in outcomes:
        assert outcome["again"] == 0, outcome
        assert outcome["readings"] == ["RESTORED"], outcome
        assert outcome["run"] == ["VERIFIED", "HELD"], outcome
        assert outcome["fetched"] == 1, outcome
        assert outcome["raw"] == before, outcome
        assert outcome["scratch"] == [], outcome
    codes = [outcome["code"] for outcome in outcomes]
    assert codes == [-signal.SIGKILL] * (len(codes) - 1) + [0]
    assert len(codes) > 20, "the agent was hardly ever killed"


@pytest.mark.fault(26)
@pytest.mark.parametrize("full", ["scratch", "raw"])
def test_full_disk_is_parked_and_goes_on_when_space_returns(sample, full):
    sample.take("raw", rows=2000)
    before = contents(sample.folders.raw)
    with agent_process(sample.config):
        sample.release("raw")
    places = {
        "scratch": sample.folders.archive / "restore",
        "raw": sample.folders.raw / "raw.zarr/image",
    }
    folder = places[full]
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True)
    if mount.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        job = sample.restore("raw")
        with agent_process(sample.config):
            (reading,) = sample.wait_for_job(job, ReadingState.PARKED)
            assert not reading.needs_person
            assert ("are free" if full == "scratch" else "No space left") in reading.reason
            assert [path.name for path in folder.rglob("*") if path.suffix == ".part"] == []
            subprocess.run(["mount", "-o", "remount,size=8m", folder], check=True)
            sample.wait_for_job(job, ReadingState.RESTORED)
            wait_for(sample.tidy, message="the scratch files gone")
        assert contents(sample.folders.raw) == before
    finally:
        subprocess.run(["umount", folder], check=True)


def test_the_agent_drills_on_its_schedule(tmp_path):
    sample = Beamline(tmp_path / "home", drill_every_h=1e-6)
    sample.take("raw")
    with agent_process(sample.config):
        wait_for(lambda: sample.state("raw") is State.VERIFIED, 60, "VERIFIED")
    with agent_process(sample.config):
        wait_for(
            lambda: ReadingState.CHECKED in [one.state for one in sample.ask(lambda it: it.readings.list())],
            message="a drill",
        )
    sample.session.close()


def test_runs_that_share_a_bundle_and_parts(tmp_path):
    sample = Beamline(tmp_path / "home", bundle_gb=2e-6, bundle_wait_s=0.5)
    sample.take("big", rows=40)
    sample.take("one", rows=1)
    sample.take("two", rows=1)
    before = contents(sample.folders.raw)
    with agent_process(sample.config):
        for uid in ("big", "one", "two"):
            sample.release(uid)
        jobs = [sample.restore(uid) for uid in ("big", "two")]
        for job in jobs:
            sample.wait_for_job(job, ReadingState.RESTORED)
    assert len(sample.job(jobs[0])) > 2
    assert [sample.local(uid) for uid in ("big", "one", "two")] == ["HELD", "RELEASED", "HELD"]
    gone = {name for name in before if name.startswith("one.zarr/image/")}
    wanted = {name: digest for name, digest in before.items() if name not in gone}
    found = contents(sample.folders.raw)
    assert {name: digest for name, digest in found.items() if not name.endswith(".released.json")} == wanted
    sample.session.close()


# -- Globus --


@pytest.fixture
def far(globus, tmp_path):
    beamline = Beamline(tmp_path / "home", globus=config_of(globus, tmp_path))
    yield beamline
    beamline.session.close()


def on_tape(globus, folder: Path) -> list[str]:
    """The paths of the bundle and its manifest in the collection, moved to tape."""
    root = globus.root("tape")
    paths = [f"/{path.relative_to(root)}" for path in (root / folder.name).rglob("raw.*")]
    for path in paths:
        globus.migrate(path)
    return paths


@pytest.mark.fault(26)
def test_staging_for_long_is_waited_for_and_killed_agents_take_it_up(globus, far, tmp_path):
    far.take("raw")
    before = contents(far.folders.raw)
    with agent_process(far.config):
        far.release("raw")
    paths = on_tape(globus, tmp_path)
    globus.configure(staging_s=None)
    tasks = len(globus.tasks())
    job = far.restore("raw")
    for _ in range(2):
        with agent_process(far.config) as process:
            far.wait_for_job(job, ReadingState.STAGING)
            process.kill()
    with agent_process(far.config):
        for path in paths:
            globus.stage(path)
        far.wait_for_job(job, ReadingState.RESTORED)
    assert len(globus.tasks()) - tasks == 1
    assert contents(far.folders.raw) == before
    assert far.local("raw") is LocalCopy.HELD


@pytest.mark.parametrize(("stored", "found"), [(True, "VERIFY_CHECKSUM"), (False, "came with sha256")])
def test_a_bit_that_flipped_on_tape_is_found(globus, far, tmp_path, stored, found):
    """By Globus, where the destination tells the checksum it has stored; else by us alone."""
    globus.configure(stored_checksum=stored)
    far.take("raw")
    with agent_process(far.config):
        wait_for(lambda: far.state("raw") is State.VERIFIED, 60, "VERIFIED")
        (tar,) = (path for path in on_tape(globus, tmp_path) if path.endswith(".tar"))
        globus.flip_bit(tar)
        job = far.ask(lambda ledger: request_verify(ledger, "raw", actor="test"))
        (reading,) = far.wait_for_job(job, ReadingState.FAILED)
    assert found in reading.reason
    assert far.state("raw") is State.PARKED
    assert far.ask(lambda ledger: ledger.get("raw")).evidence is None


def test_a_cancelled_restore_ends_its_task(globus, far, tmp_path):
    far.take("raw")
    with agent_process(far.config):
        far.release("raw")
    on_tape(globus, tmp_path)
    globus.configure(staging_s=None)
    job = far.restore("raw")
    with agent_process(far.config):
        (reading,) = far.wait_for_job(job, ReadingState.STAGING)
        far.ask(lambda ledger: cancel_job(ledger, job, actor="test"))
        wait_for(lambda: status_of(globus, reading.task_id) == "FAILED", message="the end of the task")
        wait_for(far.tidy, message="the scratch files gone")
    assert far.local("raw") is LocalCopy.RELEASED


def status_of(globus, task_id: str) -> str:
    (task,) = (task for task in globus.tasks() if task["task_id"] == task_id)
    return task["status"]


def test_a_task_that_an_administrator_ended_is_made_anew(globus, far, tmp_path):
    far.take("raw")
    before = contents(far.folders.raw)
    with agent_process(far.config):
        far.release("raw")
    paths = on_tape(globus, tmp_path)
    globus.configure(staging_s=None)
    job = far.restore("raw")
    with agent_process(far.config):
        (reading,) = far.wait_for_job(job, ReadingState.STAGING)
        globus.fail(reading.task_id)
        for path in paths:
            globus.stage(path)
        (reading,) = far.wait_for_job(job, ReadingState.RESTORED, ReadingState.PARKED)
    assert reading.state is ReadingState.RESTORED, reading.reason
    assert contents(far.folders.raw) == before


def test_homes_are_apart(sample, tmp_path):
    """What was restored to a folder stays when the state folder goes."""
    sample.take("raw")
    with agent_process(sample.config):
        wait_for(lambda: sample.state("raw") is State.VERIFIED, 60, "VERIFIED")
        job = sample.restore("raw", target=tmp_path / "there")
        sample.wait_for_job(job, ReadingState.RESTORED)
    shutil.rmtree(sample.folders.root)
    assert "raw/raw.zarr/image/zarr.json" in contents(tmp_path / "there")
