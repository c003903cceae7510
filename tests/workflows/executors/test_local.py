"""LocalProcesses: the conformance suite, and what only processes of this machine do."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from apsdm_bluesky.errors import ConfigError, ServiceError, StorageError
from apsdm_bluesky.testing import ExecutorConformance
from apsdm_bluesky.workflows.executors import Blame, Ended, LocalProcesses, Lost, Running, Waiting, _local
from tests.waiting import wait_for
from tests.workflows.executors.processes import alive, run, shell, wait_ended


def nothing() -> None:
    """What is told to nobody."""


class TestConformance(ExecutorConformance):
    def make(self, folder: Path) -> LocalProcesses:
        return LocalProcesses(
            folder / "executor", parallel=2, output_bytes=1 << 20, grace_s=0.3, notify=nothing
        )


@pytest.fixture
def single(tmp_path: Path) -> Iterator[LocalProcesses]:
    """Runs one task at a time, on one processor, in 200 MiB, with 100 kB of output."""
    executor = LocalProcesses(
        tmp_path / "executor",
        parallel=1,
        memory_bytes=200 << 20,
        cpus=1,
        output_bytes=100_000,
        grace_s=0.3,
        notify=nothing,
    )
    yield executor
    executor.close()


def test_many_tasks(tmp_path: Path) -> None:
    told = threading.Event()
    executor = LocalProcesses(tmp_path / "executor", parallel=4, output_bytes=1000, notify=told.set)
    tasks = [shell(tmp_path, f"exit {number % 3}") for number in range(200)]
    for one in tasks:
        executor.start(one)
    open_ = {one.id: one for one in tasks}
    while open_:
        assert told.wait(30)
        told.clear()
        for name in executor.changed():
            if name in open_ and isinstance(executor.look(open_[name]), Ended):
                del open_[name]
    reports = [executor.look(one) for one in tasks]
    assert [isinstance(one, Ended) and one.status for one in reports] == [n % 3 for n in range(200)]
    executor.close()


def test_the_others_wait(single: LocalProcesses, tmp_path: Path) -> None:
    single.start(first := shell(tmp_path, "exec sleep 600"))
    single.start(second := shell(tmp_path, "true"))
    single.start(third := shell(tmp_path, "true"))
    wait_for(lambda: isinstance(single.look(first), Running), message="the first task")
    assert isinstance(single.look(second), Waiting)
    single.stop(second)
    stopped = wait_ended(single, second)
    assert (stopped.status, stopped.started, stopped.reason) == (None, None, "stopped on request")
    assert isinstance(single.look(third), Waiting)
    single.stop(first)
    assert wait_ended(single, first).status == -15
    assert wait_ended(single, third).status == 0


def test_what_is_left_of_a_stopped_task(single: LocalProcesses, tmp_path: Path) -> None:
    """Its own process heeds SIGTERM, one in the background does not."""
    beside = f"(trap '' TERM; touch {tmp_path}/there; while :; do sleep 0.05; done) &"
    single.start(task := shell(tmp_path, f"{beside} wait"))
    wait_for((tmp_path / "there").exists, message="the process in the background")
    single.stop(task)
    ended = wait_ended(single, task)
    assert (ended.status, ended.reason) == (-15, "stopped on request")
    assert not alive(str(tmp_path / "there"))


def test_the_first_cause_counts(single: LocalProcesses, tmp_path: Path) -> None:
    script = f"trap 'touch {tmp_path}/asked' TERM; while :; do sleep 0.05; done"
    single.start(task := shell(tmp_path, script, timeout_s=1.0))
    wait_for((tmp_path / "asked").exists, message="SIGTERM")
    single.stop(task)
    assert "time limit of 1 s" in wait_ended(single, task).reason


def test_output_is_limited(single: LocalProcesses, tmp_path: Path) -> None:
    task = shell(tmp_path, "yes | head -c 20000000 >&2; exec sleep 600")
    ended = run(single, task)
    assert ended.blame is Blame.COMMAND
    assert "printed more than 97.7 KiB" in ended.reason
    assert task.stderr.stat().st_size == 100_000


def test_processors_are_limited(single: LocalProcesses, tmp_path: Path) -> None:
    script = "env -u OMP_NUM_THREADS nproc; echo $OMP_NUM_THREADS $OPENBLAS_NUM_THREADS; ulimit -c"
    task = shell(tmp_path, script, environment={"OMP_NUM_THREADS": "7"})
    run(single, task)
    assert task.stdout.read_text() == "1\n7 1\n0\n"


def test_the_kernel_takes_a_task_first(single: LocalProcesses, tmp_path: Path) -> None:
    task = shell(tmp_path, "cat /proc/self/oom_score_adj; cat")
    assert run(single, task).status == 0, "standard input is not at its end"
    assert int(task.stdout.read_text()) > int(Path("/proc/self/oom_score_adj").read_text())


def test_processor_time_of_all_is_counted(single: LocalProcesses, tmp_path: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.15: pass"
    ended = run(single, shell(tmp_path, f"python3 -ISc '{busy}' & python3 -ISc '{busy}'; wait"))
    assert ended.status == 0, ended
    assert 0.3 <= (ended.cpu_s or 0) < 30


def test_a_report_that_cannot_be_written(single: LocalProcesses, tmp_path: Path) -> None:
    """The task says what is in its way, and ends when that is gone."""
    task = shell(tmp_path, "exit 4")
    (obstacle := task.folder / ".ended.json").mkdir(parents=True)
    single.start(task)

    def reason() -> str:
        report = single.look(task)
        return report.reason if isinstance(report, Running) else ""

    wait_for(reason, message="the reason")
    assert str(task.folder) in reason()
    obstacle.rmdir()
    assert wait_ended(single, task).status == 4


def test_a_folder_that_cannot_be_made(single: LocalProcesses, tmp_path: Path) -> None:
    (tmp_path / "tasks").write_text("a file")
    with pytest.raises(StorageError, match="tasks"):
        single.start(shell(tmp_path, "true"))


def test_closed(tmp_path: Path) -> None:
    executor = LocalProcesses(tmp_path / "executor", parallel=1, output_bytes=1000, notify=nothing)
    executor.start(running := shell(tmp_path, f"trap '' TERM; while :; do sleep 1; done # {tmp_path}"))
    executor.start(waiting := shell(tmp_path, "true"))
    wait_for(lambda: isinstance(executor.look(running), Running), message="the process")
    executor.close()
    assert not alive(str(tmp_path))
    assert isinstance(executor.look(running), Lost)
    assert executor.look(waiting) is None
    with pytest.raises(ServiceError, match="closed"):
        executor.start(waiting)


def test_what_makes_no_sense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="parallel"):
        LocalProcesses(tmp_path, parallel=0, output_bytes=1, notify=nothing)
    monkeypatch.setattr(_local, "_CHILDREN", tmp_path / "none")
    with pytest.raises(ConfigError, match="Linux"):
        LocalProcesses(tmp_path, parallel=1, output_bytes=1, notify=nothing)
    assert not any(tmp_path.iterdir())
