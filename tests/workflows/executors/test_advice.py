"""Advice, held against processes that really fail."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from apsdm_bluesky.workflows.executors import Blame, Cut, Ended, Ending, LocalProcesses, Running, advise
from tests.waiting import wait_for
from tests.workflows.executors.processes import run, shell, task, wait_ended

PYTHON = sys.executable


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalProcesses]:
    executor = LocalProcesses(
        tmp_path_factory.mktemp("advice"),
        parallel=1,
        memory_bytes=100 << 20,
        output_bytes=1 << 20,
        grace_s=0.3,
        notify=lambda: None,
    )
    yield executor
    executor.close()


def assert_told(ended: Ended, blame: Blame, *words: str) -> None:
    assert ended.blame is blame, ended
    for word in words:
        assert word in ended.reason, ended.reason
    assert ended.reason.isprintable()
    assert len(ended.reason) < 500


PYTHON_FAILURES = {
    "import speckles.fit": ("no module 'speckles'", f"{PYTHON} -m pip install speckles"),
    "open('/data/none.h5')": ("'/data/none.h5' does not exist",),
    "import pathlib; pathlib.Path('a b: c').read_text()": ("'a b: c' does not exist",),
    "import h5py; h5py.File('/data/scan.h5')": ("'/data/scan.h5' does not exist",),
    "bytes(1 << 62)": ("more memory", "MemoryError"),
    "raise PermissionError(13, 'Permission denied', '/data/raw')": ("no permission for '/data/raw'",),
    "import warnings; raise ValueError('wrong shape (3, 4)')": ("ValueError: wrong shape (3, 4)", "status 1"),
    "print('only on stdout'); raise SystemExit(9)": ("only on stdout", "exit status 9"),
    "raise SystemExit(5)": ("exit status 5", "printed nothing"),
}


@pytest.mark.parametrize("code", PYTHON_FAILURES)
def test_python(executor: LocalProcesses, tmp_path: Path, code: str) -> None:
    ended = run(executor, task(tmp_path, PYTHON, "-c", code))
    assert_told(ended, Blame.COMMAND, *PYTHON_FAILURES[code])


SHELL_FAILURES = {
    "cat '/data/my scan.h5'": ("'/data/my scan.h5' does not exist",),
    "ls '/data/my: file'": ("'/data/my: file' does not exist",),
    "echo x > /data/none/here": ("'/data/none/here' does not exist",),
    "mkdir /data/none/here": ("'/data/none/here' does not exist",),
    "bash -c '/data/none'": ("'/data/none' does not exist",),
    "echo 'me@host: Permission denied (publickey).' >&2; exit 255": (
        "me@host: Permission denied (publickey).",
    ),
    "ls /data/none": ("'/data/none' does not exist",),
    "exec 3< /data/none": ("'/data/none' does not exist",),
    f"{PYTHON} /data/analyse.py": ("'/data/analyse.py' does not exist",),
    f"{PYTHON} -m speckles": (f"{PYTHON} -m pip install speckles",),
    "boost_cor --help": ("'boost_cor' was not found",),
    "bash -c 'boost_cor --help'": ("'boost_cor' was not found",),
    "/etc/passwd": ("no permission for '/etc/passwd'",),
    "cat /data/none; echo 'ValueError: later' >&2; exit 1": ("ValueError: later",),
    "bash -c 'kill -SEGV $$'; exit 139": ("segmentation fault", "SIGSEGV"),
    "kill -ILL $$": ("illegal instruction",),
    "kill -ABRT $$": ("aborted",),
    "kill -USR2 $$": ("SIGUSR2",),
}


@pytest.mark.parametrize("script", SHELL_FAILURES)
def test_shell(executor: LocalProcesses, tmp_path: Path, script: str) -> None:
    assert_told(run(executor, shell(tmp_path, script)), Blame.COMMAND, *SHELL_FAILURES[script])


def test_a_program_that_is_not_there(executor: LocalProcesses, tmp_path: Path) -> None:
    assert_told(run(executor, task(tmp_path, "boost_cor", "x")), Blame.COMMAND, "'boost_cor' was not found")
    (tmp_path / "stale").write_text("#!/opt/gone/python\n")
    (tmp_path / "plain").write_text("echo hello\n")
    (tmp_path / "closed").write_text("#!/bin/sh\n")
    for name in ("stale", "plain"):
        (tmp_path / name).chmod(0o755)
    for name, word in {"stale": "first line (#!", "plain": "line one (#!", "closed": "chmod +x"}.items():
        assert_told(run(executor, task(tmp_path, str(tmp_path / name))), Blame.COMMAND, name, word)
    on_path = task(tmp_path, "stale", environment={"PATH": f"/usr/bin:{tmp_path}"})
    assert_told(run(executor, on_path), Blame.COMMAND, "stale", "first line (#!")


def test_a_folder_that_is_not_there(executor: LocalProcesses, tmp_path: Path) -> None:
    one = shell(tmp_path, "true", working_folder=tmp_path / "none")
    assert_told(run(executor, one), Blame.COMMAND, str(tmp_path / "none"), "No such file")


def test_the_memory_limit(executor: LocalProcesses, tmp_path: Path) -> None:
    """Also of several processes together; what they share counts once."""
    each = 'import time; kept = b"x" * (60 << 20); time.sleep(600)'
    ended = run(executor, shell(tmp_path, f"{PYTHON} -ISc '{each}' & {PYTHON} -ISc '{each}'"))
    assert_told(ended, Blame.COMMAND, "limit of 100.0 MiB")
    assert (ended.memory or 0) > 100 << 20
    sharing = "import os, time; kept = b'x' * (60 << 20)\nif os.fork(): os.wait()\nelse: time.sleep(0.5)"
    assert run(executor, task(tmp_path, PYTHON, "-ISc", sharing)).status == 0


def test_the_time_limit(executor: LocalProcesses, tmp_path: Path) -> None:
    ended = run(executor, shell(tmp_path, "exec sleep 600", timeout_s=0.2))
    assert_told(ended, Blame.COMMAND, "time limit of 0.2 s")
    assert ended.status == -signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_from_outside(executor: LocalProcesses, tmp_path: Path, number: signal.Signals) -> None:
    executor.start(one := shell(tmp_path, "exec sleep 600"))
    wait_for(lambda: isinstance(executor.look(one), Running), message="the process")
    report = executor.look(one)
    assert isinstance(report, Running)
    assert report.pid
    os.kill(report.pid, number)
    ended = wait_ended(executor, one)
    assert_told(ended, Blame.SYSTEM, "by a person", number.name)
    assert ended.status == -number


def test_the_network(executor: LocalProcesses, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        connect = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
        ended = run(executor, task(tmp_path, PYTHON, "-c", connect))
    assert_told(ended, Blame.NETWORK, "Connection refused")
    # The resolver's own answer, without asking a server.
    connect = "from socket import *; getaddrinfo('tiled.invalid', 80, flags=AI_NUMERICHOST)"
    ended = run(executor, task(tmp_path, PYTHON, "-c", connect))
    assert_told(ended, Blame.NETWORK, "not known", "check")


def test_a_full_disk(executor: LocalProcesses, tmp_path: Path) -> None:
    assert_told(run(executor, shell(tmp_path, "cp /etc/passwd /dev/full")), Blame.SYSTEM, "disk is full")


def test_what_the_kernel_takes() -> None:
    """The one ending that no test should bring about on a machine that others use."""
    blame, reason = advise(Ending(command=("x",), status=-9, cut=Cut.OOM))
    assert blame is Blame.SYSTEM
    assert "ran out of memory" in reason


@pytest.mark.parametrize(
    "tail", ["\x1b[2J\x1b]0;title\x07\r\n\x00", "x" * 8192, "\u202eevil", "{0} {line} %s"]
)
def test_hostile_output(tail: str) -> None:
    blame, reason = advise(Ending(command=("x",), status=1, tail=tail))
    assert blame is Blame.COMMAND
    assert reason.isprintable()
    assert len(reason) < 500


def test_what_ends_well() -> None:
    assert advise(Ending(command=("x",), status=0, tail="ValueError: caught")) == (None, "")
