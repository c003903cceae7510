"""Full disks on this side, small real ones: rows 5 and 6. The full destination is row 19."""

import contextlib
import subprocess

import pytest

from apsdm_bluesky.archive import State

from .world import READ, SENT


@contextlib.contextmanager
def small_disk(folder, size):
    """A file system of its own in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder):
    """Until nothing more goes in."""
    filler = folder / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], stderr=subprocess.DEVNULL)
    return filler


@pytest.mark.fault(5)
def test_full_while_bundling(world):
    folder = world.folders.archive / "bundles"
    with small_disk(folder, "32k"):
        world.take("raw", rows=2000)
        world.start()
        parked = world.until(State.PARKED, reason="No space left")
        assert not parked.needs_person
        assert list(folder.iterdir()) == []
        world.kill()
        world.start()
        subprocess.run(["mount", "-o", "remount,size=8m", folder], check=True)
        world.until(State.VERIFIED)
        world.check()
        world.stop()


@pytest.mark.fault(6)
@pytest.mark.parametrize("state", [State.QUEUED, State.SUBMITTED])
def test_full_under_the_ledger(world, state):
    """Nothing can be recorded, so nothing is claimed; it goes on by itself when space returns."""
    with small_disk(world.folders.archive, "3m"):
        world.take("before")
        world.start()
        world.until(State.VERIFIED, "before")
        if state is State.SUBMITTED:
            world.globus.configure(hold_at_bytes=1)
            world.take()
            world.until(State.SUBMITTED)
        filler = fill(world.folders.archive)
        world.globus.configure(hold_at_bytes=None)
        if state is State.QUEUED:
            world.take()
        world.until_log("ledger.sqlite: database or disk is full; free space")
        record = world.look().get("raw")
        assert record is None or record.state in (State.QUEUED, State.SUBMITTED), record
        assert world.agent.poll() is None
        world.kill()
        filler.unlink()
        world.start()
        world.until(State.VERIFIED)
        world.check(SENT, READ, SENT, READ)
        world.stop()


@pytest.mark.fault(6)
def test_full_under_the_ledger_passes_without_a_restart(world):
    with small_disk(world.folders.archive, "3m"):
        world.globus.configure(hold_at_bytes=1)
        world.take()
        world.start()
        world.until(State.SUBMITTED)
        filler = fill(world.folders.archive)
        world.globus.configure(hold_at_bytes=None)
        world.until_log("free space")
        assert world.look()["raw"].state is State.SUBMITTED
        filler.unlink()
        world.until(State.VERIFIED)
        assert world.log().count("free space") < 20, "the log is not to fill the disk, too"
        world.check()
        world.stop()
