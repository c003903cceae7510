"""Globus under the faults that happen: lost answers, conflicts, storms, pauses, quotas, deadlines, kills."""

import os
import signal
from dataclasses import replace

import pytest
import requests

from apsdm_bluesky.errors import ApsdmError, FormatError, ServiceError, StorageError
from apsdm_bluesky.transfer import Direction, TaskStatus, TransferItem
from tests.globus import end_of, finish, mover, request, submitted
from tests.waiting import wait_for


@pytest.fixture
def transfer(globus, tmp_path):
    made = mover(globus, tmp_path)
    yield made
    made.close()


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(os.urandom(300_000))
    return path


def there(globus, tmp_path):
    """Names of what is at the destination."""
    root = globus.root("tape") / tmp_path.name
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def place(globus, tmp_path, content, name="a/file"):
    """Put a file at the destination, as somebody else does."""
    path = globus.root("tape") / tmp_path.name / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def tasks_of(globus, wanted):
    return [task for task in globus.tasks() if task["submission_id"] == wanted.submission_id]


# Rows 10 to 12: one submission, one task


def test_accepted_but_the_answer_is_lost(globus, tmp_path, transfer, source):
    wanted = request(transfer, source)
    globus.fault("transfer", drop_reply=True, times=2)
    with pytest.raises(ServiceError, match="tried again at"):
        transfer.submit(wanted)
    task = submitted(mover(globus, tmp_path), wanted)
    assert [found["task_id"] for found in tasks_of(globus, wanted)] == [task]
    assert end_of(transfer, task).status is TaskStatus.SUCCEEDED


def test_killed_before_it_was_submitted(globus, tmp_path, transfer, source):
    wanted = request(transfer, source)
    globus.fault("transfer", drop_request=True, times=2)
    with pytest.raises(ServiceError):
        transfer.submit(wanted)
    assert tasks_of(globus, wanted) == []
    assert finish(mover(globus, tmp_path), wanted).status is TaskStatus.SUCCEEDED
    assert len(tasks_of(globus, wanted)) == 1


def test_a_conflict_finds_its_own_task(globus, transfer, source):
    wanted = request(transfer, source)
    globus.fault("transfer", drop_reply=True)
    globus.fault("transfer", status=409, code="Conflict")
    task = transfer.submit(wanted)
    assert len(globus.faults_hit("transfer")) == 2
    assert [found["task_id"] for found in tasks_of(globus, wanted)] == [task]
    assert end_of(transfer, task).status is TaskStatus.SUCCEEDED


def test_a_conflict_with_another_submission_waits(globus, tmp_path, transfer, source):
    """The ledger and the records were lost: the old task goes on, and is not taken for the new one."""
    globus.configure(hold_at_bytes=1)
    transfer.submit(request(transfer, source))
    fresh = mover(globus, tmp_path / "new", base_path=f"/{tmp_path.name}")
    wanted = request(fresh, source)
    with pytest.raises(ServiceError, match="another task moves the same files"):
        fresh.submit(wanted)
    globus.configure(hold_at_bytes=None)
    assert end_of(fresh, submitted(fresh, wanted)).status is TaskStatus.SUCCEEDED
    assert there(globus, tmp_path) == ["a/file"]


def test_the_same_submission_id_for_other_files(transfer, source):
    wanted = request(transfer, source)
    finish(transfer, wanted)
    with pytest.raises(FormatError, match="another request"):
        transfer.submit(replace(wanted, label="other"))


# Rows 13 to 16: Globus does not serve, or not us


def test_a_storm_is_not_fed(globus, transfer, source):
    """Retry-After is honoured, however long; meanwhile nothing is asked."""
    task = transfer.submit(request(transfer, source))
    globus.fault("task", status=429, retry_after=3600, times=100)
    messages = set()
    for _ in range(20):
        with pytest.raises(ServiceError, match="tried again at") as raised:
            transfer.status(task)
        messages.add(str(raised.value))
    assert len(messages) == 1
    assert len(globus.faults_hit("task")) == 2  # the SDK's one short retry


def test_unavailable_for_a_while(globus, transfer, source):
    task = transfer.submit(request(transfer, source))
    globus.fault("task", status=503, times=4)
    assert end_of(transfer, task).status is TaskStatus.SUCCEEDED
    assert len(globus.faults_hit("task")) == 4


def test_the_network_is_cut_while_it_works(globus, transfer, source):
    globus.configure(hold_at_bytes=1)
    wanted = request(transfer, source)
    task = transfer.submit(wanted)
    globus.kill()
    try:
        with pytest.raises(ServiceError, match="does not answer"):
            transfer.status(task)
    finally:
        globus.start()
    globus.configure(hold_at_bytes=None)
    assert end_of(transfer, task).status is TaskStatus.SUCCEEDED
    assert len(tasks_of(globus, wanted)) == 1


def test_revoked_tokens_are_renewed(globus, transfer, source):
    task = transfer.submit(request(transfer, source))
    globus.revoke_tokens()
    assert end_of(transfer, task).status is TaskStatus.SUCCEEDED


def test_a_deleted_client_is_told_and_comes_back(globus, transfer, source):
    globus.configure(hold_at_bytes=1)
    task = transfer.submit(request(transfer, source))
    globus.delete_client()
    with pytest.raises(ApsdmError, match=r"archive\.globus\.client_id") as raised:
        transfer.status(task)
    assert not isinstance(raised.value, (ServiceError, StorageError))  # parks: a person must act
    globus.delete_client(deleted=False)
    globus.configure(hold_at_bytes=None)
    assert end_of(transfer, task).status is TaskStatus.SUCCEEDED


def test_consent_and_session_are_instructions(globus, transfer, source):
    globus.require_consent("tape")
    with pytest.raises(ApsdmError, match=r"needs consent for .*data_access.*set archive.globus.data_access"):
        transfer.submit(request(transfer, source))
    globus.require_consent("tape", required=False)
    globus.require_session("tape", ["alcf.anl.gov"])
    with pytest.raises(ApsdmError, match=r"an identity of alcf.anl.gov; a service account cannot"):
        transfer.submit(request(transfer, source))
    globus.require_session("tape", None)
    assert finish(transfer, request(transfer, source)).status is TaskStatus.SUCCEEDED


# Rows 17 to 20: the task does not end well


@pytest.mark.parametrize("status", ["INACTIVE", "ACTIVE"])
def test_a_pause_is_waited_for(globus, transfer, source, status):
    globus.pause("tape", status=status)
    wanted = request(transfer, source)
    task = transfer.submit(wanted)
    wait_for(lambda: transfer.status(task).status is TaskStatus.INACTIVE)
    report = transfer.status(task)
    assert "administrator paused it" in report.detail
    assert not report.needs_person
    assert transfer.submit(wanted) == task
    globus.resume("tape")
    assert end_of(transfer, task).status is TaskStatus.SUCCEEDED
    assert len(tasks_of(globus, wanted)) == 1


def test_expired_credentials_need_a_person(globus, transfer, source):
    globus.expire_credentials("tape")
    task = transfer.submit(request(transfer, source))
    wait_for(lambda: transfer.status(task).status is TaskStatus.INACTIVE)
    assert transfer.status(task).needs_person
    assert "fresh login" in transfer.status(task).detail
    globus.expire_credentials("tape", expired=False)
    assert end_of(transfer, task).status is TaskStatus.SUCCEEDED


@pytest.mark.parametrize("code", ["FILE_NOT_FOUND", "PERMISSION_DENIED"])
def test_hopeless_while_active_is_cancelled(globus, tmp_path, transfer, source, code):
    globus.fault("copy", code=code, times=1000)
    wanted = request(transfer, source)
    report = finish(transfer, wanted)
    assert report.status is TaskStatus.FAILED
    assert report.needs_person
    assert code in report.detail
    assert "a/file" in report.detail
    assert tasks_of(globus, wanted)[0]["fatal_error"]["code"] == "CANCELED"
    assert mover(globus, tmp_path).status(report.task_id) == report


def test_a_fault_that_passes_is_waited_for(globus, transfer, source):
    globus.fault("copy", code="ENDPOINT_ERROR", times=5)
    assert finish(transfer, request(transfer, source)).status is TaskStatus.SUCCEEDED


def test_a_full_destination_parks(globus, tmp_path, transfer, source):
    place(globus, tmp_path, b"kept", "other")
    globus.quota("tape", 1000)
    report = finish(transfer, request(transfer, source))
    assert report.status is TaskStatus.FAILED
    assert report.needs_person
    assert "QUOTA" in report.detail
    assert "nothing was removed" in report.detail
    assert "other" in there(globus, tmp_path)
    assert "a/file" not in there(globus, tmp_path)
    globus.quota("tape", None)
    assert finish(transfer, request(transfer, source)).status is TaskStatus.SUCCEEDED


def test_a_deadline_passes(globus, tmp_path, source):
    globus.configure(hold_at_bytes=1)
    hasty = mover(globus, tmp_path, deadline_h=1e-4)
    report = finish(hasty, request(hasty, source))
    hasty.close()
    assert report.status is TaskStatus.FAILED
    assert not report.needs_person
    assert "deadline" in report.detail
    globus.configure(hold_at_bytes=None)
    patient = mover(globus, tmp_path)
    assert finish(patient, request(patient, source)).status is TaskStatus.SUCCEEDED


def test_cancelled_by_a_person_then_only_the_rest_is_sent(globus, tmp_path, transfer, source):
    items = (
        TransferItem(local=source, remote="one"),
        TransferItem(local=tmp_path / "secret", remote="two"),
    )
    globus.fault("copy", code="ENDPOINT_ERROR", after=1, times=1000)
    first = replace(request(transfer, source), items=items)
    task = transfer.submit(first)
    wait_for(lambda: tasks_of(globus, first)[0]["files_transferred"] == 1)
    globus.fail(task, "CANCELED", "canceled by the user")
    globus.clear_faults()
    report = end_of(transfer, task)
    assert report.status is TaskStatus.FAILED
    assert not report.needs_person
    assert transfer.stat("one") is None
    second = replace(request(transfer, source), items=items)
    assert finish(transfer, second).status is TaskStatus.SUCCEEDED
    (sent,) = tasks_of(globus, second)
    assert (sent["files_skipped"], sent["files_transferred"]) == (1, 1)
    assert there(globus, tmp_path) == ["one", "two"]


def test_cancel(globus, transfer, source):
    globus.configure(hold_at_bytes=1)
    task = transfer.submit(request(transfer, source))
    transfer.cancel(task)
    report = end_of(transfer, task)
    assert report.status is TaskStatus.FAILED
    assert "cancelled" in report.detail
    assert report.needs_person
    transfer.cancel(task)
    assert transfer.status(task) == report


# Rows 21 to 24: what is there is not what was sent


@pytest.mark.parametrize("wrong", ["truncate", "skip"])
def test_succeeded_but_wrong_is_sent_again(globus, tmp_path, transfer, source, wrong):
    globus.fault("copy", **{wrong: True})
    report = finish(transfer, request(transfer, source))
    assert report.status is TaskStatus.FAILED
    assert not report.needs_person
    assert "sent again" in report.detail
    assert transfer.stat("a/file") is None
    assert finish(transfer, request(transfer, source)).status is TaskStatus.SUCCEEDED
    assert (globus.root("tape") / tmp_path.name / "a/file").read_bytes() == source.read_bytes()


def test_a_flipped_bit_on_tape_is_found(globus, tmp_path, transfer, source):
    finish(transfer, request(transfer, source))
    globus.flip_bit(f"/{tmp_path.name}/a/file")
    back = tmp_path / "back"
    item = TransferItem(local=back, remote="a/file", md5="0" * 32)
    wanted = replace(request(transfer, back, direction=Direction.FETCH), items=(item,))
    report = finish(transfer, wanted)
    assert (report.status, report.content_differs) == (TaskStatus.FAILED, True)
    assert not back.exists()
    assert not list(tmp_path.glob(".*.part"))


def test_one_file_is_there_the_other_not(globus, tmp_path, transfer, source):
    finish(transfer, request(transfer, source, "one"))
    other = tmp_path / "other"
    other.write_bytes(b"other")
    items = (TransferItem(local=source, remote="one"), TransferItem(local=other, remote="two"))
    assert finish(transfer, replace(request(transfer, source), items=items)).status is TaskStatus.SUCCEEDED
    assert there(globus, tmp_path) == ["one", "two"]
    assert not list(tmp_path.glob(".*.part"))


def test_another_size_is_refused_before_anything_moves(globus, tmp_path, transfer, source):
    path = place(globus, tmp_path, b"somebody's")
    wanted = request(transfer, source)
    report = finish(transfer, wanted)
    assert report.status is TaskStatus.FAILED
    assert report.needs_person
    assert "never overwritten" in report.detail
    assert tasks_of(globus, wanted) == []
    assert path.read_bytes() == b"somebody's"


@pytest.mark.parametrize("same_size", [False, True])
def test_a_file_that_comes_while_ours_is_under_way(globus, tmp_path, transfer, source, same_size):
    content = os.urandom(source.stat().st_size if same_size else 10)
    globus.configure(hold_at_bytes=1)
    task = transfer.submit(request(transfer, source))
    path = place(globus, tmp_path, content)
    globus.configure(hold_at_bytes=None)
    first = end_of(transfer, task)
    assert first.status is TaskStatus.FAILED
    assert not first.needs_person
    second = finish(transfer, request(transfer, source))
    assert second.status is TaskStatus.FAILED
    assert second.needs_person
    assert path.read_bytes() == content


def test_a_forgotten_task_is_none(globus, transfer, source):
    globus.configure(hold_at_bytes=1)
    task = transfer.submit(request(transfer, source))
    globus.purge(task)
    assert transfer.status(task) is None


def test_the_answer_to_a_rename_is_lost(globus, tmp_path, transfer, source):
    globus.fault("rename", drop_reply=True)
    assert finish(transfer, request(transfer, source)).status is TaskStatus.SUCCEEDED
    assert there(globus, tmp_path) == ["a/file"]


# Kills


def _dying(deaths, name, owner, after):
    """Have the process die at the `deaths`-th call of all the functions that are treated so."""
    function = getattr(owner, name)

    def wrapper(*args, **kwargs):
        deaths[0] -= 1
        if deaths[0] == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if deaths[0] == 0 and after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, wrapper)


def _die_in(globus, tmp_path, wanted, number, after):
    """Whether a child process did the whole of it without reaching its death."""
    child = os.fork()
    if child == 0:
        deaths = [number]
        for name in ("fsync", "replace", "symlink", "link", "unlink"):
            _dying(deaths, name, os, after)
        _dying(deaths, "send", requests.Session, after)
        transfer = mover(globus, tmp_path)
        end_of(transfer, transfer.submit(wanted))
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_every_step_resumes_with_one_task(globus, tmp_path, source, direction, after):
    transfer = mover(globus, tmp_path)
    if direction is Direction.FETCH:
        finish(transfer, request(transfer, source))
    for number in range(1, 100):
        target = source if direction is Direction.SEND else tmp_path / f"back-{number}"
        remote = f"a/file-{number}" if direction is Direction.SEND else "a/file"
        wanted = request(transfer, target, remote, direction)
        whole = _die_in(globus, tmp_path, wanted, number, after)
        report = finish(transfer, wanted)
        assert report.status is TaskStatus.SUCCEEDED, (number, report)
        assert len(tasks_of(globus, wanted)) == 1, number
        if direction is Direction.FETCH:
            assert target.read_bytes() == source.read_bytes()
        if whole:
            break
    transfer.close()
    assert number > 8, "it was hardly ever killed"
    assert [name for name in there(globus, tmp_path) if name.endswith(".part")] == []
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_killed_while_it_adopts_and_sends_the_rest(globus, tmp_path, source):
    """One of two files is there already: whenever it dies, both are there in the end."""
    transfer = mover(globus, tmp_path)
    finish(transfer, request(transfer, source, "one"))
    for number in range(1, 100):
        items = (
            TransferItem(local=source, remote="one"),
            TransferItem(local=source, remote=f"rest-{number}"),
        )
        wanted = replace(request(transfer, source), items=items)
        whole = _die_in(globus, tmp_path, wanted, number, after=True)
        report = finish(transfer, wanted)
        assert report.status is TaskStatus.SUCCEEDED, (number, report)
        assert (globus.root("tape") / tmp_path.name / f"rest-{number}").read_bytes() == source.read_bytes()
        if whole:
            break
    transfer.close()
    assert number > 15, "it was hardly ever killed"
