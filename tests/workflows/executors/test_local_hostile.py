"""LocalProcesses: commands that write where they should not, folders that do not answer, defects of ours."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apsdm_bluesky.workflows.executors import Ended, LocalProcesses, Lost, Running, Task, Waiting, _link
from apsdm_bluesky.workflows.executors._warden import _pool, _tree
from apsdm_bluesky.workflows.executors._warden._messages import Settings
from tests.waiting import wait_for
from tests.workflows.executors.processes import alive, children, run, shell, wait_ended


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[LocalProcesses]:
    made = LocalProcesses(
        tmp_path / "executor", parallel=1, output_bytes=1 << 20, grace_s=0.3, notify=lambda: None
    )
    yield made
    made.close()


GOOD = {"status": 0, "started": 1.0, "ended": 2.0, "host": "h", "pid": 1}
TEXTS = {
    "no key": "{}",
    "a list": "[1]",
    "a text": '"x"',
    "empty": "",
    "no UTF-8": b"\xff",
    "deep": "[" * 60_000,
    "a number of 60 kB": '{"status": 1' + "0" * 60_000 + "}",
    "too large": " " * 100_000 + json.dumps(GOOD),
    **{
        f"{name} {value!r:.20}": json.dumps(GOOD | {name: value})
        for name, value in [
            ("status", "x"),
            ("status", 1 << 40),
            ("started", []),
            ("started", float("nan")),
            ("ended", 1e300),
            ("ended", None),
            ("host", {}),
            ("host", "h" * 1000),
            ("host", "\ud800"),
            ("pid", 1 << 70),
            ("memory", 1 << 70),
            ("cpu_s", "much"),
            ("cut", "none of ours"),
            ("limit", float("inf")),
            ("said", 5),
        ]
    },
}


def test_rubbish_in_place_of_a_report(executor: LocalProcesses, tmp_path: Path) -> None:
    task = shell(tmp_path, "true")
    run(executor, task)
    report = task.folder / "ended.json"
    report.write_text(json.dumps(GOOD))
    assert isinstance(executor.look(task), Ended), "the sample itself is no rubbish"
    for name, text in TEXTS.items():
        report.write_bytes(text if isinstance(text, bytes) else text.encode())
        found = executor.look(task)
        assert isinstance(found, Lost), name
        assert "report is damaged" in found.reason


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made, pytest.MonkeyPatch.context() as here:
        here.chdir(path.parent)  # a socket's name is short
        made.bind(path.name)


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, Path.mkdir, _socket, lambda path: path.symlink_to("/dev/zero")],
    ids=["pipe", "folder", "socket", "link"],
)
def test_no_file_in_place_of_a_report(
    executor: LocalProcesses, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    task = shell(tmp_path, "true")
    run(executor, task)
    (task.folder / "ended.json").unlink()
    make(task.folder / "ended.json")
    assert isinstance(executor.look(task), Lost)


def test_a_command_that_writes_its_own_report(executor: LocalProcesses, tmp_path: Path) -> None:
    """It runs on, for all that it says; and what it put in the way of its keeper holds that up as little."""
    forged = json.dumps(GOOD)
    script = f"mkfifo ../.ended.json; echo '{forged}' > ../ended.json; touch there; exec sleep 600"
    executor.start(task := shell(tmp_path, script))
    wait_for((task.work / "there").exists, message="the forgery")
    assert isinstance(executor.look(task), Running)
    executor.stop(task)
    assert wait_ended(executor, task).status == -15


def test_a_command_that_replaces_its_output(executor: LocalProcesses, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    script = f"cd ..; rm stdout stderr; mkfifo stderr; ln -s {tmp_path}/secret stdout; exit 3"
    ended = run(executor, shell(tmp_path, script))
    assert ended.status == 3
    assert "secret" not in ended.reason


# -- a start that hangs: here for a pipe that nobody reads, else for a file server that does not answer --


def hanging(executor: LocalProcesses, tmp_path: Path, **fields: float) -> Task:
    task = shell(tmp_path, "true", **fields)
    task.folder.mkdir(parents=True)
    os.mkfifo(task.stdout)
    executor.start(task)
    return task


def test_a_start_that_hangs_is_told_and_can_be_stopped(executor: LocalProcesses, tmp_path: Path) -> None:
    task = hanging(executor, tmp_path)

    def told() -> bool:
        report = executor.look(task)
        assert isinstance(report, Waiting)
        return "has not answered" in report.reason

    wait_for(told, message="what it waits for")
    executor.stop(task)
    assert wait_ended(executor, task).reason == "stopped on request"
    assert run(executor, shell(tmp_path, "true")).status == 0


def test_a_start_that_hangs_ends_in_time(executor: LocalProcesses, tmp_path: Path) -> None:
    assert "time limit" in wait_ended(executor, hanging(executor, tmp_path, timeout_s=0.2)).reason


def test_a_start_that_hangs_does_not_hold_up_the_end(executor: LocalProcesses, tmp_path: Path) -> None:
    task = hanging(executor, tmp_path)
    wait_for((task.folder / "started").exists, message="the keeper")
    executor.close()
    assert not alive(str(tmp_path / "executor"))
    assert isinstance(executor.look(task), Lost)


# -- what does not end --


def _settings(folder: Path, parent: int) -> Settings:
    return Settings(
        folder=str(folder),
        parent=parent,
        parallel=1,
        memory_bytes=None,
        cpus=None,
        output_bytes=1,
        grace_s=1.0,
        mark="APSDM_WARDEN=x",
    )


def test_a_process_that_cannot_be_killed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """No test can make such a process: what is left is given, what is done about it is not."""
    answers = iter([[4711], [4711], []])
    monkeypatch.setattr(_tree, "sweep", lambda _: next(answers))
    monkeypatch.setattr(_pool, "_SWEEP_S", 0.001)
    monkeypatch.setattr(_pool, "_TICK_S", 0.002)
    assert _pool._clear(_settings(tmp_path, os.getppid()))
    (line,) = capfd.readouterr().out.splitlines()
    assert json.loads(line).keys() == {"obstacle"}
    assert "process 4711 of an earlier task does not end" in line


def test_nobody_wants_the_sweep_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tree, "sweep", lambda _: [4711])
    assert not _pool._clear(_settings(tmp_path, -1))


def test_tasks_tell_what_the_warden_waits_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in the warden's place says what that one would."""
    program = tmp_path / "warden.py"
    said = json.dumps({"obstacle": "process 4711 does not end"})
    program.write_text(f"import sys\nprint('''{said}''', flush=True)\nsys.stdin.read()\n")
    monkeypatch.setattr(_link, "_PROGRAM", program)
    executor = LocalProcesses(tmp_path / "executor", parallel=1, output_bytes=1, notify=lambda: None)
    executor.start(task := shell(tmp_path, "true"))
    wait_for(lambda: executor.look(task) == Waiting(reason="process 4711 does not end"))
    executor.close()


# -- defects --


def test_a_defect_does_not_end_the_warden_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_link, "_PAUSE_S", 0.0)
    calls = iter(range(1000))

    def notify() -> None:
        if next(calls) < 4:
            raise RuntimeError("a defect")

    executor = LocalProcesses(tmp_path / "executor", parallel=1, output_bytes=1000, notify=notify)
    task = shell(tmp_path, "exit 3")
    assert run(executor, task).status == 3
    assert [one.exc_info is not None for one in caplog.records if one.levelname == "ERROR"] == [True]
    assert "RuntimeError: a defect" in caplog.text
    executor.close()
    assert not set(alive(str(tmp_path))) & set(children(os.getpid()))
