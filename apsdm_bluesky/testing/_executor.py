"""What every `Executor` must do, as tests that a local and a remote one inherit."""

import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from apsdm_bluesky.workflows.executors import Blame, Ended, Executor, Lost, Report, Running, Task

# What a shell, a template or a line of JSON could take for more than text.
_HOSTILE = (
    "",
    " ",
    "-rf",
    "; touch hacked",
    "$(touch hacked)",
    "`touch hacked`",
    "$HOME",
    "{0} %s",
    "*",
    "a'b\"c\\",
    "two\nlines\t\r",
    "\x1b[31m",
    "\u00b5\u2028\U0001f600",
    "\udcff",
)


class ExecutorConformance:
    """Inherit in a test module and define `make`; pytest collects the rest.

    Processes see the folders of the test. Subclasses may widen `timeout_s`, the longest wait for a small
    task, and name another `python`.
    """

    timeout_s = 30.0
    python = sys.executable

    def make(self, folder: Path) -> Executor:
        """An executor that belongs to `folder` and kills soon after SIGTERM; called again, another one."""
        raise NotImplementedError

    def restart(self, executor: Executor, folder: Path) -> Executor:
        """What the agent has after it ended, in whatever way, and was started again."""
        executor.close()
        return self.make(folder)

    def test_what_ends_well(self, tmp_path: Path) -> None:
        """Status 0, no blame, no reason; its output stands in the two files, its times are in order."""
        executor = self.make(tmp_path)
        before = time.time()
        task = self._python(tmp_path, "import sys; print('out'); print('err', file=sys.stderr)")
        ended = self._run(executor, task)
        _check((ended.status, ended.blame, ended.reason) == (0, None, ""), f"ended {ended}")
        _check(task.stdout.read_text() == "out\n", f"stdout holds {task.stdout.read_text()!r}")
        _check(task.stderr.read_text() == "err\n", f"stderr holds {task.stderr.read_text()!r}")
        started = ended.started or 0
        _check(before - 1 <= started <= ended.ended <= time.time() + 1, f"the times are {ended}")
        _check(ended.cpu_s is None or ended.cpu_s > 0, f"processor time is {ended.cpu_s}")
        _check(ended.memory is None or ended.memory > 1e6, f"memory is {ended.memory}")
        executor.close()

    def test_what_fails(self, tmp_path: Path) -> None:
        """Its exit status, the command's blame, and its last words in the reason; all in one line."""
        executor = self.make(tmp_path)
        ended = self._run(executor, self._python(tmp_path, "raise SystemExit('no beam\\x1b[31m\\x07')"))
        _check(ended.status == 1 and ended.blame is Blame.COMMAND, f"ended {ended}")
        _check("no beam" in ended.reason and ended.reason.isprintable(), f"the reason is {ended.reason!r}")
        executor.close()

    def test_what_a_signal_ends(self, tmp_path: Path) -> None:
        """The signal's negative number."""
        executor = self.make(tmp_path)
        ended = self._run(executor, self._python(tmp_path, "import os; os.kill(os.getpid(), 11)"))
        _check(ended.status == -11 and ended.blame is not None, f"ended {ended}")
        executor.close()

    def test_two_starts_are_one_process(self, tmp_path: Path) -> None:
        """While it runs, after it ended, by another executor, and after a restart."""
        executor = self.make(tmp_path)
        task, effects = self._counting(tmp_path)
        for _ in range(2):
            executor.start(task)
        self._until(effects.exists, "the process")
        other = self.make(tmp_path)
        other.start(task)
        (tmp_path / "go").touch()
        self._wait(executor, task)
        self._wait(other, task)
        executor.start(task)
        other.close()
        again = self.restart(executor, tmp_path)
        again.start(task)
        again.start(second := self._python(tmp_path, "pass"))
        self._wait(again, second)
        _check(effects.read_text() == "x", f"it ran {len(effects.read_text())} times")
        again.close()

    def test_a_restart_while_it_runs(self, tmp_path: Path) -> None:
        """It goes on elsewhere or is lost, but never forgotten, and never runs a second time."""
        executor = self.make(tmp_path)
        task, effects = self._counting(tmp_path)
        executor.start(task)
        self._until(lambda: isinstance(executor.look(task), Running) and effects.exists(), "the process")
        again = self.restart(executor, tmp_path)
        (tmp_path / "go").touch()
        again.start(task)
        self._until(lambda: isinstance(again.look(task), Ended | Lost), "the end, or the loss")
        again.start(task)
        self._run(again, self._python(tmp_path, "pass"))
        _check(effects.read_text() == "x", f"it ran {len(effects.read_text())} times")
        again.close()

    def test_a_report_is_kept(self, tmp_path: Path) -> None:
        """Another executor tells the same."""
        executor = self.make(tmp_path)
        task = self._python(tmp_path, "raise SystemExit(7)")
        ended = self._run(executor, task)
        again = self.restart(executor, tmp_path)
        _check(again.look(task) == ended, f"{again.look(task)} after a restart, {ended} before")
        again.close()

    def test_time_runs_out(self, tmp_path: Path) -> None:
        """It ends with all that it started, the command is to blame, and the reason names the limit."""
        executor = self.make(tmp_path)
        task = self._python(tmp_path, _stubborn(tmp_path), timeout_s=1.25)
        ended = self._run(executor, task)
        _check(ended.blame is Blame.COMMAND and "1.25 s" in ended.reason, f"ended {ended}")
        self._silent(tmp_path / "beat")
        executor.close()

    def test_stop(self, tmp_path: Path) -> None:
        """It ends with all that it started, though they ignore SIGTERM; a second `stop` changes nothing."""
        executor = self.make(tmp_path)
        task = self._python(tmp_path, _stubborn(tmp_path))
        executor.start(task)
        self._until((tmp_path / "beat").exists, "the process of the process")
        executor.stop(task)
        executor.stop(task)
        ended = self._wait(executor, task)
        _check(ended.blame is not None and "stop" in ended.reason, f"ended {ended}")
        self._silent(tmp_path / "beat")
        executor.stop(task)
        _check(executor.look(task) == ended, "stopping again changed the report")
        executor.close()

    def test_what_it_leaves_behind_ends_with_it(self, tmp_path: Path) -> None:
        """A process in the background does not outlive its task, which ended well."""
        executor = self.make(tmp_path)
        ended = self._run(executor, self._python(tmp_path, _leaving(tmp_path)))
        _check(ended.status == 0 and ended.blame is None, f"ended {ended}")
        self._silent(tmp_path / "beat")
        executor.close()

    def test_unknown_tasks(self, tmp_path: Path) -> None:
        """One that was never started is not known, and stopping it is harmless."""
        executor = self.make(tmp_path)
        task = self._python(tmp_path, "pass")
        executor.stop(task)
        _check(executor.look(task) is None, f"a task that was never started is {executor.look(task)}")
        _check(self._run(executor, task).status == 0, "it cannot be started after that")
        _check(set(executor.changed()) <= {task.id}, "others have changed")
        executor.close()

    def test_environment(self, tmp_path: Path) -> None:
        """What was given is added to what is there."""
        executor = self.make(tmp_path)
        text = "a=b\n$HOME\n'\"`\n\u00b5"
        code = "import os, sys; sys.stdout.buffer.write(os.environb[b'GIVEN'] + b'|' + os.environb[b'PATH'])"
        task = self._python(tmp_path, code, environment={"GIVEN": text})
        self._run(executor, task)
        given, path = task.stdout.read_bytes().rsplit(b"|", 1)
        _check(given.decode() == text, f"the variable holds {given!r}")
        _check(path, "the environment is not added to another")
        executor.close()

    def test_folders(self, tmp_path: Path) -> None:
        """It starts in an empty folder of its own, or in the given one."""
        executor = self.make(tmp_path)
        code = "import os; print(os.getcwd(), len(os.listdir()))"
        own = self._python(tmp_path, code)
        self._run(executor, own)
        _check(own.stdout.read_text() == f"{own.folder.resolve() / 'work'} 0\n", own.stdout.read_text())
        (given := tmp_path / "given").mkdir()
        (given / "file").touch()
        task = self._python(tmp_path, code, working_folder=given)
        self._run(executor, task)
        _check(task.stdout.read_text() == f"{given.resolve()} 1\n", task.stdout.read_text())
        executor.close()

    def test_arguments_are_not_read(self, tmp_path: Path) -> None:
        """Whatever stands in them arrives as it is."""
        executor = self.make(tmp_path)
        code = "import sys, os; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
        task = self._python(tmp_path, code, *_HOSTILE)
        ended = self._run(executor, task)
        _check(ended.status == 0, f"ended {ended}")
        arrived = [text.decode("utf-8", "surrogateescape") for text in task.stdout.read_bytes().split(b"\0")]
        _check(tuple(arrived) == _HOSTILE, f"arrived: {arrived}")
        _check(not list(tmp_path.rglob("hacked")), "an argument was run")
        executor.close()

    def test_what_cannot_start(self, tmp_path: Path) -> None:
        """It never ran, the command is to blame, and the reason names what is wrong."""
        executor = self.make(tmp_path)
        (plain := tmp_path / "plain.txt").write_text("text")
        cases = {
            "no-such-program": _task(tmp_path, "no-such-program", "x"),
            str(plain): _task(tmp_path, str(plain)),
            str(tmp_path / "missing"): self._python(tmp_path, "pass", working_folder=tmp_path / "missing"),
            "NUL": self._python(tmp_path, "pass", "a\0b"),
        }
        for name, task in cases.items():
            ended = self._run(executor, task)
            never = ended.status is None and ended.started is None and ended.blame is Blame.COMMAND
            _check(never and (name in ended.reason or name == "NUL"), f"{name}: ended {ended}")
        _check(not (tmp_path / "missing").exists(), "a folder was made that was only named")
        executor.close()

    def test_close(self, tmp_path: Path) -> None:
        """It may be called twice."""
        executor = self.make(tmp_path)
        self._run(executor, self._python(tmp_path, "pass"))
        executor.close()
        executor.close()

    def _counting(self, folder: Path) -> tuple[Task, Path]:
        """A task that writes one letter to a file, and waits until a file ``go`` is there."""
        effects = folder / "effects"
        code = "import os, sys, time; open(sys.argv[1], 'a').write('x')\n"
        code += "while not os.path.exists(sys.argv[2]): time.sleep(0.02)"
        return self._python(folder, code, str(effects), str(folder / "go"), timeout_s=self.timeout_s), effects

    def _python(self, folder: Path, code: str, *arguments: str, **fields: object) -> Task:
        return _task(folder, self.python, "-I", "-S", "-c", code, *arguments, **fields)

    def _run(self, executor: Executor, task: Task) -> Ended:
        executor.start(task)
        return self._wait(executor, task)

    def _wait(self, executor: Executor, task: Task) -> Ended:
        report: list[Report | None] = [None]

        def over() -> bool:
            report[0] = executor.look(task)
            return isinstance(report[0], Ended | Lost)

        self._until(over, f"the end of {task.command}")
        if not isinstance(report[0], Ended):
            raise AssertionError(f"{task.command} is {report[0]}")  # noqa: TRY004 - a test that fails
        return report[0]

    def _silent(self, beat: Path) -> None:
        """The process that wrote to `beat` every 20 ms does so no more."""
        size = beat.stat().st_size
        time.sleep(0.2)
        _check(beat.stat().st_size == size, "a process of the task goes on")

    def _until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + self.timeout_s
        while not condition():
            _check(time.monotonic() < deadline, f"{what} did not come within {self.timeout_s} s")
            time.sleep(0.01)


_IGNORE = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


def _stubborn(folder: Path) -> str:
    """A program that ignores SIGTERM and has a daemon that does so too, in a session of its own."""
    return _IGNORE + _daemon(folder) + "time.sleep(600)"


def _leaving(folder: Path) -> str:
    """A program that ends when its daemon, in a session of its own, lives."""
    return _IGNORE + _daemon(folder) + f"while not os.path.exists({str(folder / 'beat')!r}): time.sleep(0.01)"


def _daemon(folder: Path) -> str:
    beat = f"  while True: open({str(folder / 'beat')!r}, 'a').write('x'); time.sleep(0.02)\n"
    return "if os.fork() == 0:\n  os.setsid()\n  if os.fork(): os._exit(0)\n" + beat


def _task(folder: Path, *command: str, **fields: object) -> Task:
    name = uuid.uuid4().hex
    return Task(id=name, command=command, folder=folder / "tasks" / name, **fields)  # type: ignore[arg-type]


def _check(condition: object, message: str) -> None:
    if not condition:
        raise AssertionError(message)
