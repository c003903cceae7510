"""LocalProcesses: whoever is killed, no process of a task goes on, and no task is forgotten."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from apsdm_bluesky.workflows.executors import Blame, Ended, LocalProcesses, Lost, Running, Task, Waiting
from tests.children import end_with_parent
from tests.waiting import wait_for
from tests.workflows.executors.processes import STUBBORN, alive, children, run, shell, task

HERE = Path(__file__).parent


@pytest.fixture
def agent(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """An agent in a process of its own: task d0 has ended, a1 and a2 run, b3 waits."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "agent_to_kill.py"), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), *sys.path])},
        preexec_fn=end_with_parent,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == '"ready"\n'
        yield process
        process.kill()


def executor_of(folder: Path) -> LocalProcesses:
    return LocalProcesses(folder / "executor", parallel=2, output_bytes=1 << 20, notify=lambda: None)


def wardens(folder: Path, parent: int) -> set[int]:
    return set(alive(str(folder / "executor"))) & set(children(parent))


def left(folder: Path, name: str) -> Task:
    return Task(id=name, command=("x",), folder=folder / "tasks" / name)


def assert_nothing_is_forgotten(folder: Path) -> None:
    executor = executor_of(folder)
    seen = executor.look(left(folder, "a1"))
    assert isinstance(seen, Lost | Running)
    wait_for(lambda: isinstance(executor.look(left(folder, "a1")), Lost), message="the loss")
    assert not alive(str(folder) + "/a"), "it was told to be lost while it went on"
    assert isinstance(executor.look(left(folder, "a2")), Lost)
    assert executor.look(left(folder, "b3")) is None
    done = executor.look(left(folder, "d0"))
    assert isinstance(done, Ended)
    assert done.status == 3
    executor.start(left(folder, "a1"))
    assert isinstance(executor.look(left(folder, "a1")), Lost)
    assert run(executor, shell(folder, "true")).status == 0
    executor.close()


def test_the_agent_is_killed(agent: "subprocess.Popen[str]", tmp_path: Path) -> None:
    assert len(alive(str(tmp_path) + "/a")) == 4
    agent.kill()
    wait_for(lambda: not alive(str(tmp_path)), message="the end of all processes, warden and keepers too")
    assert_nothing_is_forgotten(tmp_path)


def test_a_new_agent_starts_before_the_old_ones_processes_have_ended(
    agent: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    agent.kill()
    assert_nothing_is_forgotten(tmp_path)


def test_agent_warden_and_keepers_are_killed_at_once(agent: "subprocess.Popen[str]", tmp_path: Path) -> None:
    (warden,) = wardens(tmp_path, agent.pid)
    ours = [agent.pid, warden, *children(warden)]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in ours:
            os.kill(pid, number)
    wait_for(lambda: len(alive(str(tmp_path))) == 2, message="the end of all but the daemons")
    assert_nothing_is_forgotten(tmp_path)
    assert not alive(str(tmp_path))


def test_a_warden_is_killed(tmp_path: Path) -> None:
    executor = executor_of(tmp_path)
    places = [str(tmp_path / name) for name in ("s1", "s2")]
    stubborn = [task(tmp_path, sys.executable, "-ISc", STUBBORN, place, "bare") for place in places]
    waiting = shell(tmp_path, "echo ran")
    for one in (*stubborn, waiting):
        executor.start(one)
    wait_for(lambda: len(list(tmp_path.glob("s*"))) == 2, message="the processes")
    assert isinstance(executor.look(waiting), Waiting)
    (warden,) = wardens(tmp_path, os.getpid())
    os.kill(warden, signal.SIGKILL)
    wait_for(lambda: isinstance(executor.look(stubborn[0]), Lost), message="the loss")
    assert not alive(str(tmp_path / "s"))
    wait_for(lambda: isinstance(executor.look(waiting), Ended), message="the task that waited")
    assert waiting.stdout.read_text() == "ran\n"
    assert set(executor.changed()) >= {one.id for one in stubborn}
    executor.close()


def test_a_keeper_is_killed(tmp_path: Path) -> None:
    """Its task is lost, the others go on, and the warden ends what it left."""
    executor = executor_of(tmp_path)
    other = task(tmp_path, sys.executable, "-ISc", STUBBORN, str(tmp_path / "other"))
    one = task(tmp_path, sys.executable, "-ISc", STUBBORN, str(tmp_path / "one"), "bare")
    for each in (other, one):
        executor.start(each)
        wait_for(lambda each=each: isinstance(executor.look(each), Running), message="the process")  # type: ignore[misc]
    wait_for((tmp_path / "one").exists, message="the daemon")
    report = executor.look(one)
    assert isinstance(report, Running)
    keeper = int(Path(f"/proc/{report.pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(keeper, signal.SIGKILL)
    wait_for(lambda: isinstance(executor.look(one), Lost), message="the loss")
    assert not alive(str(tmp_path / "one"))
    assert isinstance(executor.look(other), Running)
    executor.close()
    assert not alive(str(tmp_path))


def test_every_step_of_a_keeper(tmp_path: Path) -> None:
    """Killed before each: a task that ran is on record as started, one that is on record never runs again."""
    done = subprocess.run(
        [sys.executable, str(HERE / "dying_keeper.py"), str(tmp_path)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), *sys.path])},
        preexec_fn=end_with_parent,
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(said) > 10
    assert said[-1] == {"step": len(said), "code": 0, "started": True, "ended": 0, "again": True, "ran": "x"}
    for one in said[:-1]:
        assert one["code"] == -signal.SIGKILL
        assert one["again"] is one["started"], one  # what had not started runs now, what had does not
        assert one["ran"] in (("x",) if one["ended"] == 0 or not one["started"] else ("", "x")), one
    assert {(one["started"], one["ended"]) for one in said} == {(False, None), (True, None), (True, 0)}


def test_two_agents(agent: "subprocess.Popen[str]", tmp_path: Path) -> None:
    """The second runs nothing while the first lives, and says why; it knows what the first one does."""
    executor = executor_of(tmp_path)
    executor.start(one := shell(tmp_path, "true"))
    report = executor.look(one)
    assert isinstance(report, Waiting)
    assert "earlier agent" in report.reason
    assert isinstance(executor.look(left(tmp_path, "a1")), Running)
    executor.stop(one)
    agent.kill()
    wait_for(lambda: isinstance(executor.look(one), Ended), message="the lock")
    ended = executor.look(one)
    assert isinstance(ended, Ended)
    assert (ended.status, ended.started, ended.blame) == (None, None, Blame.COMMAND)
    executor.close()


def test_the_lock(tmp_path: Path) -> None:
    """Nothing runs while another holds it."""
    (tmp_path / "executor").mkdir()
    with (tmp_path / "executor" / "warden.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        executor = executor_of(tmp_path)
        executor.start(one := shell(tmp_path, "true"))
        wait_for(lambda: wardens(tmp_path, os.getpid()), message="the warden")
        (warden,) = wardens(tmp_path, os.getpid())
        wait_for(lambda: times_asleep(warden) > 5, message="some tries for the lock")
        released = time.time()
    wait_for(lambda: isinstance(executor.look(one), Ended), message="the task")
    ended = executor.look(one)
    assert isinstance(ended, Ended)
    assert ended.started
    assert ended.started >= released
    executor.close()


def times_asleep(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
