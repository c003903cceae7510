"""LocalFolder: the conformance suite, and what only a folder does."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from apsdm_bluesky.errors import FormatError, StorageError
from apsdm_bluesky.testing import TransferConformance
from apsdm_bluesky.transfer import (
    Direction,
    LocalFolder,
    TaskReport,
    TaskStatus,
    TransferItem,
    TransferRequest,
)
from tests.waiting import wait_for

ENDED = (TaskStatus.SUCCEEDED, TaskStatus.FAILED)

# Dies as by kill -9 at the n-th fsync or link of the copy whose request it is given.
DYING = """
import os, signal, sys
from pathlib import Path
from apsdm_bluesky.transfer import *
folder, submission_id, deaths = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
calls = 0
def dying(function):
    def wrapper(*args, **kwargs):
        global calls
        calls += 1
        if calls == deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return wrapper
os.fsync, os.link, os.replace = dying(os.fsync), dying(os.link), dying(os.replace)
os.unlink = dying(os.unlink)
item = TransferItem(local=folder / "source", remote="a/file")
transfer = LocalFolder(folder / "tape")
task = transfer.submit(TransferRequest(submission_id=submission_id, direction=Direction.SEND, items=(item,)))
while transfer.status(task).status is TaskStatus.ACTIVE:
    pass
transfer.close()
"""


class TestConformance(TransferConformance):
    def make(self, folder: Path) -> LocalFolder:
        return LocalFolder(folder / "tape")


def finish(transfer: LocalFolder, request: TransferRequest) -> TaskReport:
    task = transfer.submit(request)
    wait_for(lambda: transfer.status(task).status in ENDED, message="the end of the task")
    return transfer.status(task)


def send(transfer: LocalFolder, source: Path, remote: str = "file") -> TransferRequest:
    item = TransferItem(local=source, remote=remote)
    return TransferRequest(
        submission_id=transfer.new_submission_id(), direction=Direction.SEND, items=(item,)
    )


def files(folder: Path) -> list[str]:
    """The visible and `.part` files under a folder, without the task records."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if path.parts[0] != ".apsdm-transfer")


@pytest.fixture
def transfer(tmp_path):
    local = LocalFolder(tmp_path / "tape")
    yield local
    local.close()


def test_killed_at_every_durable_step_resumes_with_one_task(tmp_path):
    (tmp_path / "source").write_bytes(os.urandom(100_000))
    for deaths in range(1, 100):
        tape = tmp_path / "tape"
        reference = LocalFolder(tape)
        request = send(reference, tmp_path / "source", "a/file")
        child = subprocess.run(
            [sys.executable, "-c", DYING, str(tmp_path), request.submission_id, str(deaths)], timeout=60
        )
        report = finish(reference, request)
        reference.close()
        assert report.status is TaskStatus.SUCCEEDED, (deaths, report)
        assert files(tape) == ["a/file"], deaths
        assert (tape / "a/file").read_bytes() == (tmp_path / "source").read_bytes()
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL
        (tape / "a/file").unlink()
        (tape / "a").rmdir()
    assert deaths > 5, "the copy was hardly ever killed"


def test_two_clients_copy_once(tmp_path, transfer):
    (tmp_path / "source").write_bytes(os.urandom(50_000_000))
    request = send(transfer, tmp_path / "source")
    other = LocalFolder(tmp_path / "tape")
    task = transfer.submit(request)
    assert other.submit(request) == task
    wait_for(lambda: {c.status(task).status for c in (transfer, other)} == {TaskStatus.SUCCEEDED})
    other.close()
    assert files(tmp_path / "tape") == ["file"]


def test_submission_id_is_of_one_request(tmp_path, transfer):
    (tmp_path / "source").write_bytes(b"x")
    request = send(transfer, tmp_path / "source")
    finish(transfer, request)
    other = TransferRequest(
        submission_id=request.submission_id,
        direction=Direction.SEND,
        items=(TransferItem(local=tmp_path / "source", remote="elsewhere"),),
    )
    with pytest.raises(FormatError, match="another request"):
        transfer.submit(other)
    with pytest.raises(FormatError, match="no UUID"):
        transfer.status("../../x")


def test_links_that_lead_out_are_refused(tmp_path, transfer):
    (tmp_path / "source").write_bytes(b"x")
    (tmp_path / "tape").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "tape/link").symlink_to(tmp_path / "outside")
    with pytest.raises(FormatError, match="leads out"):
        transfer.submit(send(transfer, tmp_path / "source", "link/file"))
    (tmp_path / "tape/name").symlink_to(tmp_path / "outside/file")
    with pytest.raises(FormatError, match="leads out"):
        transfer.submit(send(transfer, tmp_path / "source", "name"))
    assert not files(tmp_path / "outside")


def test_full_destination_fails_without_a_trace_and_may_be_sent_again(tmp_path):
    tape = tmp_path / "tape"
    tape.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tape], capture_output=True)
    if mount.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        transfer = LocalFolder(tape)
        (tmp_path / "source").write_bytes(os.urandom(3_000_000))
        report = finish(transfer, send(transfer, tmp_path / "source"))
        assert report.status is TaskStatus.FAILED
        assert not report.needs_person
        assert "No space left" in report.detail
        assert files(tape) == []
        subprocess.run(["mount", "-o", "remount,size=8m", tape], check=True)
        assert finish(transfer, send(transfer, tmp_path / "source")).status is TaskStatus.SUCCEEDED
        transfer.close()
    finally:
        subprocess.run(["umount", tape], check=True)


def test_destination_that_is_no_folder(tmp_path):
    (tmp_path / "tape").write_bytes(b"a file")
    (tmp_path / "source").write_bytes(b"x")
    transfer = LocalFolder(tmp_path / "tape")
    with pytest.raises(StorageError, match="tape"):
        transfer.submit(send(transfer, tmp_path / "source"))
    transfer.close()


def test_cancel_survives_a_restart(tmp_path):
    """A task cancelled while nobody works on it ends cancelled, whoever asks next."""
    (tmp_path / "source").write_bytes(b"x" * 1000)
    dead = LocalFolder(tmp_path / "tape")
    dead.close()  # takes requests, but works no more: as a process that dies at once
    request = send(dead, tmp_path / "source")
    task = dead.submit(request)
    dead.cancel(task)
    living = LocalFolder(tmp_path / "tape")
    wait_for(lambda: living.status(task).status in ENDED)
    assert living.status(task).status is TaskStatus.FAILED
    assert living.status(task).detail == "cancelled"
    living.close()
    left = [path.name for path in (tmp_path / "tape/.apsdm-transfer").iterdir()]
    assert left == [f"{task}.json"], "the wish and the lock end with the task"
    assert files(tmp_path / "tape") == []


def test_a_lock_that_a_killed_process_left_goes_with_the_next_question(tmp_path, transfer):
    (tmp_path / "source").write_bytes(b"x")
    request = send(transfer, tmp_path / "source")
    finish(transfer, request)
    lock = tmp_path / f"tape/.apsdm-transfer/{request.submission_id}.lock"
    lock.touch()
    assert transfer.status(request.submission_id).status is TaskStatus.SUCCEEDED
    assert not lock.exists()


def test_damaged_record_is_told(tmp_path, transfer):
    (tmp_path / "source").write_bytes(b"x")
    request = send(transfer, tmp_path / "source")
    finish(transfer, request)
    record = tmp_path / "tape/.apsdm-transfer" / f"{request.submission_id}.json"
    record.write_text('{"request": 1')
    with pytest.raises(StorageError, match=record.name):
        transfer.status(request.submission_id)


def test_a_listing_follows_no_link_and_shows_nothing_hidden(tmp_path):
    root = tmp_path / "tape"
    (root / "a").mkdir(parents=True)
    (root / ".apsdm-transfer").mkdir()
    for name in ("a/two", "one", ".hidden", ".apsdm-transfer/task"):
        (root / name).write_bytes(b"1")
    (root / "a/loop").symlink_to(root)
    (root / "a/link").symlink_to(root / "one")
    transfer = LocalFolder(root)
    assert [file.path for file in transfer.list_files()] == ["one", "a/two"]
    transfer.close()
