"""What becomes of files when they were copied, or were not."""

import errno

import pytest

from apsdm_bluesky.daq import FileState
from apsdm_bluesky.daq._copy import Answer, Copied, IncompleteError, NotTakenError, Order, StoppedError
from apsdm_bluesky.daq._outcomes import Settled, settle
from apsdm_bluesky.daq._pool import Outcome
from apsdm_bluesky.daq._scan import Seen
from apsdm_bluesky.daq._source import OddFileError
from apsdm_bluesky.daq._target import TargetError, UnplaceableError
from apsdm_bluesky.daq._work import Change, Known, Last

SEEN = Seen("a/x.dat", 5, 7, 8, 9)
OWN = Last(1, "in/a/x.dat", 5, 6, "aa", "run 1", True)
OTHER = Last(1, "in/a/x.dat", 5, 6, "aa", "run 0", False)


def copied(**fields: object) -> Copied:
    values = {
        "size": 5,
        "mtime_ns": 7,
        "sha256": "aa",
        "path": "in/a/x.dat",
        "version": 1,
        "was_there": False,
    }
    return Copied(**values | fields)


def settled(
    answer: Answer, *, last: Last | None = None, held: Last | None = None, version: int = 1
) -> Settled:
    order = Order(SEEN, "/data/in/a/x.dat", last, False)
    known = {SEEN.name: Known(FileState.WAITING, 5, 7, version, last)}
    return settle([Outcome(order, answer)], known, lambda *_: held)


def change_of(answer: Answer, **more: object) -> Change:
    result = settled(answer, **more)
    (change,) = result.changes
    assert (result.again, result.blocked, result.incomplete, result.disturbed) == ([], [], [], [])
    return change


def test_a_new_file_is_stored() -> None:
    assert change_of(copied()) == Change(
        name="a/x.dat",
        state=FileState.STORED,
        size=5,
        mtime_ns=7,
        ino=SEEN.ino,
        path="in/a/x.dat",
        sha256="aa",
    )
    assert settled(copied()).notices == []


def test_a_file_that_nobody_knew_of_is_stored_too() -> None:
    """It was put there just before a kill, or by somebody's hand."""
    assert change_of(copied(was_there=True)).state is FileState.STORED


def test_a_file_that_another_daq_has_brought_is_part_of_its_run() -> None:
    change = change_of(copied(was_there=True), last=OTHER, held=OTHER)
    assert (change.state, change.run, change.reason) == (FileState.CATALOGUED, "run 0", "was there already")
    assert not change.touched


def test_a_file_that_was_only_touched_has_no_row_of_its_own() -> None:
    assert change_of(copied(was_there=True), last=OWN, held=OWN, version=2).touched


def test_the_same_as_an_older_version_is_no_touch() -> None:
    change = change_of(copied(was_there=True, path="other", version=3), last=OWN, held=OWN, version=2)
    assert not change.touched


def test_a_new_version_is_told() -> None:
    result = settled(copied(version=2, path="in/a/x.v2.dat"), last=OWN, version=2)
    assert result.notices == [("a/x.dat", "is version 2: it was changed, or another file lies there")]
    (change,) = result.changes
    assert (change.state, change.version, change.run) == (FileState.STORED, 2, None)


def test_a_remark_is_told() -> None:
    assert settled(copied(remark="taken as it is")).notices == [("a/x.dat", "taken as it is")]


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file"), "vanished", "it was gone before it was taken"),
        (NotADirectoryError(errno.ENOTDIR, "Not"), "vanished", "it was gone before it was taken"),
        (OddFileError("a/x.dat", "a named pipe"), "skipped", "a named pipe"),
        (PermissionError(errno.EACCES, "Permission denied"), "failed", "cannot be taken: Permission denied"),
        (OSError(errno.EIO, "Input/output error"), "failed", "cannot be taken: Input/output error"),
        (UnplaceableError("x: File exists"), "failed", "cannot be taken: x: File exists"),
    ],
)
def test_what_is_not_taken_is_at_an_end(error: Exception, state: str, reason: str) -> None:
    change = change_of(error, version=2)
    assert (change.state, change.reason, change.version) == (state, reason, 2)
    assert (change.size, change.mtime_ns, change.path) == (5, 7, None)


def test_what_disturbs_is_told_and_the_file_waits_again() -> None:
    result = settled(NotTakenError("it grew"))
    assert result.disturbed == [("a/x.dat", "it grew; it is taken when it does not change any more")]
    assert (result.again, result.changes) == (["a/x.dat"], [])


@pytest.mark.parametrize("error", [StoppedError(), OSError(errno.ESTALE, "Stale file handle")])
def test_what_says_nothing_about_the_file_is_not_told(error: Exception) -> None:
    result = settled(error)
    assert (result.again, result.changes, result.notices, result.disturbed) == (["a/x.dat"], [], [], [])


def test_what_is_not_whole_waits_with_its_reason() -> None:
    result = settled(IncompleteError("it is empty"))
    assert (result.incomplete, result.again, result.changes) == ([("a/x.dat", "it is empty")], [], [])


def test_a_target_that_fails_hinders_all() -> None:
    result = settled(TargetError("/data: No space left on device"))
    assert (result.blocked, result.again, result.changes) == (["a/x.dat"], [], [])
    assert result.hindered == ("/data: No space left on device; it goes on by itself when that is mended")
