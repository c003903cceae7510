"""Peers that need other packages than we do: a virtual environment for each, and a process that answers.

An environment is made on first use in `results/<name>-<version>`. Where that is not possible (no network, no
wheel for this machine) the bench goes on without this peer and says so.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_RESULTS = Path(__file__).parent / "results"
_INSTALL_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another program, and how it is installed.

    Parameters
    ----------
    installs
        What is handed to ``pip install``, one call after the other. A call is a list of ways: the next one
        is tried where one fails.
    check
        Python that fails where the program cannot be used.
    """

    name: str
    version: str
    installs: Sequence[Sequence[Sequence[str]]]
    check: str

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def folder(self) -> Path:
        return _RESULTS / f"{self.name}-{self.version}"

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def install(self) -> str:
        """Make the environment unless it is there; what went wrong, or nothing."""
        done = self.folder / "installed.json"
        if done.exists():
            return ""
        print(f"installing {self.title} for comparison, once ...", flush=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        pip = [str(self.python), "-m", "pip", "install", "--quiet"]
        steps = [
            [[sys.executable, "-m", "venv", str(self.folder)]],
            *([[*pip, *way] for way in ways] for ways in self.installs),
            [[str(self.python), "-c", self.check]],
        ]
        for ways in steps:
            problem = _first_that_works(ways)
            if problem:
                return problem
        done.write_text(json.dumps({"version": self.version}))
        return ""

    @contextmanager
    def process(self, script: str, *arguments: str) -> Iterator["PeerProcess"]:
        """Run a script in the environment. It prints a line when it is ready, then one for each it reads."""
        command = [str(self.python), "-c", script, *arguments]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            running = PeerProcess(self.title, child)
            running.answer()
            yield running


class PeerProcess:
    """A peer that waits for work."""

    def __init__(self, title: str, child: "subprocess.Popen[str]") -> None:
        self._title = title
        self._child = child

    def ask(self, **question: Any) -> Any:
        """Send a question, wait for the answer; both are JSON."""
        if self._child.stdin is None:
            raise RuntimeError(f"{self._title}'s process has no input")
        self._child.stdin.write(json.dumps(question) + "\n")
        self._child.stdin.flush()
        return json.loads(self.answer())

    def answer(self) -> str:
        """The next line of the process."""
        if self._child.stdout is None or not (line := self._child.stdout.readline()):
            raise RuntimeError(f"{self._title}'s process ended; what it wrote stands above")
        return line


def _first_that_works(ways: Sequence[Sequence[str]]) -> str:
    """Nothing where one of these commands succeeds; else what went wrong with the last."""
    problem = ""
    for command in ways:
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            problem = f"not installed within {_INSTALL_TIMEOUT_S} s"
        except subprocess.CalledProcessError as error:
            lines = error.stderr.strip().splitlines() or ["no message"]
            problem = next((line for line in lines if "error" in line.lower()), lines[-1]).strip()
        else:
            return ""
    return problem
