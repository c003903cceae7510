"""What every `Transfer` must do, as tests that a real and a simulated one inherit."""

import time
from collections.abc import Callable
from pathlib import Path

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.transfer import (
    Direction,
    Residency,
    TaskReport,
    TaskStatus,
    Transfer,
    TransferItem,
    TransferRequest,
)


class TransferConformance:
    """Inherit in a test module and define `make`; pytest collects the rest.

    Subclasses may widen `timeout_s`, the longest wait for a small task.
    """

    timeout_s = 30.0

    def make(self, folder: Path) -> Transfer:
        """A client of the destination that belongs to `folder`; called again, a new client of it."""
        raise NotImplementedError

    def test_sends_and_fetches(self, tmp_path: Path) -> None:
        """What was sent is there, and comes back the same."""
        transfer = self.make(tmp_path)
        source, back = _file(tmp_path, "source", b"speckle" * 100_000), tmp_path / "back"
        sent = self._finish(transfer, _send(transfer, source, "a/b/file.tar"))
        _check(sent.status is TaskStatus.SUCCEEDED, f"sending ended {sent}")
        found = transfer.stat("a/b/file.tar")
        _check(found is not None and found.size == 700_000, f"at the destination stands {found}")
        fetched = self._finish(transfer, _fetch(transfer, "a/b/file.tar", back))
        _check(fetched.status is TaskStatus.SUCCEEDED, f"fetching ended {fetched}")
        _check(back.read_bytes() == source.read_bytes(), "what came back differs")
        transfer.close()

    def test_same_submission_is_one_task(self, tmp_path: Path) -> None:
        """The answer to a submission may be lost: asked again, by any client, it is the same task."""
        transfer = self.make(tmp_path)
        request = _send(transfer, _file(tmp_path, "source", b"x" * 1000), "file")
        task = transfer.submit(request)
        _check(transfer.submit(request) == task, "a second task was made")
        self._wait(transfer, task)
        transfer.close()
        again = self.make(tmp_path)
        _check(again.submit(request) == task, "a second task was made after a restart")
        _check(self._wait(again, task).status is TaskStatus.SUCCEEDED, "the task was lost")
        again.close()

    def test_identical_file_is_adopted(self, tmp_path: Path) -> None:
        """A new task for a file that is there already succeeds."""
        transfer = self.make(tmp_path)
        source = _file(tmp_path, "source", b"same")
        for _ in range(2):
            report = self._finish(transfer, _send(transfer, source, "file"))
            _check(report.status is TaskStatus.SUCCEEDED, f"ended {report}")
        transfer.close()

    def test_different_file_is_never_overwritten(self, tmp_path: Path) -> None:
        """Other content under the same name stays, at either end; the task says that a person is needed."""
        transfer = self.make(tmp_path)
        first, second = _file(tmp_path, "first", b"first"), _file(tmp_path, "second", b"other")
        self._finish(transfer, _send(transfer, first, "file"))
        for request in (_send(transfer, second, "file"), _fetch(transfer, "file", second)):
            report = self._finish(transfer, request)
            _check(report.status is TaskStatus.FAILED and report.needs_person, f"ended {report}")
            _check("file" in report.detail or "second" in report.detail, f"does not name it: {report}")
        back = tmp_path / "back"
        self._finish(transfer, _fetch(transfer, "file", back))
        _check(back.read_bytes() == b"first" and second.read_bytes() == b"other", "content was overwritten")
        transfer.close()

    def test_announced_md5_is_checked(self, tmp_path: Path) -> None:
        """A file that is not what was announced does not arrive."""
        transfer = self.make(tmp_path)
        item = TransferItem(local=_file(tmp_path, "source", b"x"), remote="file", md5="0" * 32)
        report = self._finish(transfer, _request(transfer, Direction.SEND, item))
        _check(report.status is TaskStatus.FAILED, f"ended {report}")
        _check(transfer.stat("file") is None, "a wrong file was delivered")
        transfer.close()

    def test_missing_source_fails(self, tmp_path: Path) -> None:
        """A file that is not there ends FAILED or waits with a reason, and never arrives."""
        transfer = self.make(tmp_path)
        for request in (
            _send(transfer, tmp_path / "none", "file"),
            _fetch(transfer, "nothing", tmp_path / "back"),
        ):
            task = transfer.submit(request)
            self._until(lambda task=task: _told(transfer.status(task)), f"a reason of task {task}")  # type: ignore[misc]
            transfer.cancel(task)
            report = self._wait(transfer, task)
            _check(report.status is TaskStatus.FAILED, f"ended {report}")
        _check(transfer.stat("file") is None and not (tmp_path / "back").exists(), "something arrived")
        transfer.close()

    def test_hostile_paths_are_refused(self, tmp_path: Path) -> None:
        """A path that leads out of the destination is refused before anything is moved."""
        transfer = self.make(tmp_path)
        source = _file(tmp_path, "source", b"x")
        for path in ("../out", "a/../../out", "/etc/out", "", "a//b", "./a", "a/\0"):
            _refuses(lambda path=path: transfer.submit(_send(transfer, source, path)), path)  # type: ignore[misc]
            _refuses(lambda path=path: transfer.stat(path), path)  # type: ignore[misc]
            if path:
                _refuses(lambda path=path: list(transfer.list_files(path)), path)  # type: ignore[misc]
        transfer.close()

    def test_lists_what_is_there(self, tmp_path: Path) -> None:
        """Every file that was sent under a folder is listed with its size, however deep; no hidden one."""
        transfer = self.make(tmp_path)
        _check(list(transfer.list_files()) == [], "an empty destination lists files")
        paths = {"a/one": 1, "a/b/c/two": 20, "ab/three": 300}
        for number, (path, size) in enumerate(paths.items()):
            self._finish(transfer, _send(transfer, _file(tmp_path, f"s{number}", b"x" * size), path))
        for prefix in ("", "a", "a/b", "nothing", "a/one"):
            found = {file.path: file.size for file in transfer.list_files(prefix)}
            wanted = {
                path: size for path, size in paths.items() if not prefix or path.startswith(f"{prefix}/")
            }
            _check(found == wanted, f"under {prefix!r} are {found}, not {wanted}")
        transfer.close()

    def test_unknown_things(self, tmp_path: Path) -> None:
        """What the destination does not know is None or UNKNOWN, not an error and not a guess."""
        transfer = self.make(tmp_path)
        _check(transfer.status(transfer.new_submission_id()) is None, "an unknown task is known")
        _check(transfer.stat("nothing/here") is None, "a missing file is there")
        _check(transfer.residency("nothing/here") is Residency.UNKNOWN, "a missing file has a residency")
        transfer.close()

    def _finish(self, transfer: Transfer, request: TransferRequest) -> TaskReport:
        return self._wait(transfer, transfer.submit(request))

    def _wait(self, transfer: Transfer, task: str) -> TaskReport:
        ended = (TaskStatus.SUCCEEDED, TaskStatus.FAILED)
        self._until(lambda: (report := transfer.status(task)) and report.status in ended, f"task {task}")
        report = transfer.status(task)
        if report is None:
            raise AssertionError(f"task {task} is not known any more")
        return report

    def _until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + self.timeout_s
        while not condition():
            _check(time.monotonic() < deadline, f"{what} did not come within {self.timeout_s} s")
            time.sleep(0.01)


def _send(transfer: Transfer, source: Path, path: str) -> TransferRequest:
    return _request(transfer, Direction.SEND, TransferItem(local=source, remote=path))


def _fetch(transfer: Transfer, path: str, target: Path) -> TransferRequest:
    return _request(transfer, Direction.FETCH, TransferItem(local=target, remote=path))


def _request(transfer: Transfer, direction: Direction, item: TransferItem) -> TransferRequest:
    return TransferRequest(submission_id=transfer.new_submission_id(), direction=direction, items=(item,))


def _file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _told(report: TaskReport | None) -> bool:
    return report is not None and bool(report.detail)


def _refuses(call: Callable[[], object], path: str) -> None:
    try:
        call()
    except FormatError:
        return
    raise AssertionError(f"the path {path!r} was taken")


def _check(condition: object, message: str) -> None:
    if not condition:
        raise AssertionError(message)
