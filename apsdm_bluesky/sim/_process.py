"""The simulated detector as a child process."""

import json
import os
import select
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self, cast

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.errors import AcquisitionError

from ._ports import server_ports
from ._settings import DetectorSettings, Fault

__all__ = ["DetectorProcess"]

_START_TIMEOUT_S = 90.0  # the first start compiles the speckle kernel
_STOP_TIMEOUT_S = 5.0
_TAIL_BYTES = 2000


class DetectorProcess:
    """A simulated areaDetector IOC in a process of its own; it ends with this process, however that ends.

    Needs `isolate_epics` first. A context manager: started on entry, stopped on exit.

    Parameters
    ----------
    prefix
        EPICS prefix, for instance ``apsdm:sim:``.
    simulation
        The sample, or the file whose frames are sent.
    fault
        Losses to inject.
    layout, frames_per_message, credit
        How it sends frames: as of a `DetectorConfig`.
    log
        File that gets what the process writes to stderr. None: a temporary one.
    """

    def __init__(
        self,
        prefix: str,
        simulation: SimulationConfig,
        *,
        fault: Fault | None = None,
        layout: Literal["images", "events"] = "images",
        frames_per_message: int = 1,
        credit: int = 0,
        log: Path | None = None,
    ) -> None:
        self._settings = DetectorSettings(
            prefix=prefix,
            simulation=simulation,
            layout=layout,
            frames_per_message=frames_per_message,
            credit=credit,
            fault=fault or Fault(),
        )
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._resources = ExitStack()

    @property
    def pid(self) -> int:
        """Process number.

        Raises
        ------
        AcquisitionError
            It does not run.
        """
        if self._process is None:
            raise AcquisitionError(f"{self._settings.prefix}: the simulated detector is not started")
        return self._process.pid

    def start(self) -> None:
        """Return when the detector's servers answer.

        Raises
        ------
        AcquisitionError
            It is started already, or ended before it was ready; the message says why.
        """
        if self._process is not None:
            raise AcquisitionError(f"{self._settings.prefix}: the simulated detector runs already")
        with ExitStack() as resources:
            ports = resources.enter_context(server_ports())
            log = resources.enter_context(self._open_log())
            process = _spawn(ports, log)
            resources.callback(_end, process)
            _tell(process, self._settings)
            _await_ready(process, self._settings.prefix, log)
            self._process, self._resources = process, resources.pop_all()

    def stop(self) -> None:
        """End the process; harmless when it has ended."""
        self._process = None
        self._resources.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _open_log(self) -> IO[bytes]:
        if self._log is None:
            return tempfile.TemporaryFile()
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            return self._log.open("a+b")
        except OSError as error:
            raise AcquisitionError(
                f"{self._log}: the detector's log cannot be written ({error.strerror}); give another file"
            ) from error


def _spawn(ports: dict[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "apsdm_bluesky.sim.ioc"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env={**os.environ, **ports},
        start_new_session=True,  # Ctrl-C is for the RunEngine, not for the detector
    )


def _tell(process: subprocess.Popen[bytes], settings: DetectorSettings) -> None:
    stdin = cast("IO[bytes]", process.stdin)
    with suppress(BrokenPipeError):  # it ended at once: `_await_ready` says why
        stdin.write(settings.model_dump_json().encode() + b"\n")
        stdin.flush()


def _await_ready(process: subprocess.Popen[bytes], prefix: str, log: IO[bytes]) -> None:
    stdout = cast("IO[bytes]", process.stdout)
    readable, _, _ = select.select([stdout], [], [], _START_TIMEOUT_S)
    if not readable:
        raise AcquisitionError(
            f"{prefix}: the simulated detector is not ready after {_START_TIMEOUT_S:.0f} s"
        )
    line = stdout.readline()
    if not line:
        raise AcquisitionError(f"{prefix}: the simulated detector ended at its start: {_tail(log)}")
    answer = json.loads(line)
    if not answer["ready"]:
        raise AcquisitionError(f"{prefix}: the simulated detector cannot start: {answer['error']}")


def _tail(log: IO[bytes]) -> str:
    """The end of the log in one line."""
    log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
    return " | ".join(log.read().decode(errors="replace").split("\n")[-5:]).strip(" |") or "it wrote nothing"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End of input asks it to leave; a process that does not is killed."""
    with process:  # closes the pipes and reaps it
        with suppress(BrokenPipeError):
            cast("IO[bytes]", process.stdin).close()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
