"""Agents that are there to be killed: real processes, one at a time on a state folder.

`python -m tests.archive.agents` is the nursery: it has imported everything, and forks an agent for each line
of JSON (a configuration) that it reads. That takes a hundredth of a start from nothing.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Protocol

from apsdm_bluesky.config import BeamlineConfig
from tests.children import end_with_parent

ROOT = Path(__file__).parents[2]


class Agents(Protocol):
    """Starts an agent, and ends it one way or the other. More variables of its environment may be given."""

    def start(self, config: BeamlineConfig) -> None: ...

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        ...

    def end(self) -> int:
        """SIGTERM; returns the exit code."""
        ...

    def close(self) -> None: ...


class CommandAgents:
    """Each agent is the command that a session starts."""

    def __init__(self, log: Path, environment: Mapping[str, str]) -> None:
        self._log = log.open("a")
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None

    def start(self, config: BeamlineConfig) -> None:
        command = [sys.executable, "-m", "apsdm_bluesky.agent"]
        self._process = _spawn(command, self._log, self._environment)
        order = {"config": config.model_dump(mode="json"), "die_with_parent": True}
        _write(self._process, order)

    def kill(self) -> None:
        process = self._ended()
        process.kill()
        process.communicate()

    def end(self) -> int:
        process = self._ended()
        process.terminate()
        process.communicate(timeout=60)
        return process.returncode

    def close(self) -> None:
        if self._process is not None:
            self.kill()
        self._log.close()

    def _ended(self) -> "subprocess.Popen[str]":
        if self._process is None:
            raise RuntimeError("no agent was started")
        process, self._process = self._process, None
        return process


class ForkedAgents:
    """Each agent is a fork of the nursery."""

    def __init__(self, log: Path, environment: Mapping[str, str]) -> None:
        self._log = log.open("a")
        self._nursery = _spawn([sys.executable, "-m", "tests.archive.agents"], self._log, environment)
        self._pid = 0
        self._answer()

    def start(self, config: BeamlineConfig) -> None:
        _write(self._nursery, config.model_dump(mode="json"))
        self._pid = int(self._answer())

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        self._code()

    def end(self) -> int:
        os.kill(self._pid, signal.SIGTERM)
        return self._code()

    def close(self) -> None:
        if self._pid:
            self.kill()
        self._nursery.communicate()
        self._log.close()

    def _code(self) -> int:
        self._pid = 0
        return int(self._answer())

    def _answer(self) -> str:
        if self._nursery.stdout is None:
            raise RuntimeError("the nursery has no pipes")
        line = self._nursery.stdout.readline()
        if not line:
            raise RuntimeError("the nursery is dead")
        return line


def _spawn(command: list[str], log: IO[str], environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        start_new_session=True,
        preexec_fn=end_with_parent,
    )


def _write(process: "subprocess.Popen[str]", message: object) -> None:
    if process.stdin is None:
        raise RuntimeError("the process has no pipes")
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()


def _nurse() -> None:
    """Fork an agent for each line; say its pid, then its exit code (minus the signal that ended it)."""
    import globus_sdk

    from apsdm_bluesky.agent import run_agent

    _ = globus_sdk.TransferClient  # loads it
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            end_with_parent()
            run_agent(BeamlineConfig(**json.loads(line)))
            return
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    _nurse()
