"""The consumers of a group as child processes: started, watched, started again."""

import json
import logging
import subprocess
import sys
import time
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import IO, TypedDict

from apsdm_bluesky.errors import ServiceError, StorageError

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.2
_STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSettings:
    """What the consumers of a group have in common.

    Parameters
    ----------
    source, collector
        The channels that they read from and deliver to.
    group
        The distributor's name for them: the messages of the source are shared out among one group.
    queue
        Messages that the source's server keeps for each.
    restarts
        How often each is started again.
    log
        Gets what they write.
    """

    source: str
    collector: str
    group: str
    queue: int
    restarts: int
    log: Path

    def arguments(self, number: int) -> list[str]:
        """The arguments of ``pvapy-hpc-consumer`` that start consumer `number`."""
        options = {
            "--consumer-id": number,
            "--input-channel": self.source,
            "--processor-class": "apsdm_bluesky.streaming._hpc_consumer.EventProcessor",
            "--processor-args": json.dumps({"collector": self.collector}),
            "--server-queue-size": self.queue,
            "--skip-initial-updates": 0,
            # By number: the default, by time stamp, leaves out updates that share one.
            "--distributor-trigger": "uniqueId",
            "--distributor-group": self.group,
            "--distributor-updates": 1,
            "--log-level": "warning",
        }
        return [str(word) for option in options.items() for word in option]


class Death(TypedDict):
    """How a consumer's process ended; `time` in seconds since 1970."""

    consumer: int
    process: int
    time: float
    how: str


class ConsumerProcess:
    """One consumer, which ends with this process, however that ends.

    `watch` starts it again when it died, after a pause that doubles each time.
    """

    def __init__(self, number: int, settings: ConsumerSettings, log: IO[bytes]) -> None:
        self.number = number
        self._settings = settings
        self._log = log
        self.deaths: list[Death] = []
        self._process: subprocess.Popen[bytes] | None = self._spawn()
        self._again_at = 0.0

    @property
    def pid(self) -> int | None:
        """Its process; None where it is dead."""
        return self._process.pid if self._process else None

    @property
    def given_up(self) -> bool:
        """Whether it died too often."""
        return len(self.deaths) > self._settings.restarts

    def watch(self) -> int | None:
        """See whether it died, and start it again when the pause is over; returns the process that died."""
        if self._process is None:
            if not self.given_up and time.monotonic() >= self._again_at:
                self._process = self._spawn()
        elif (code := self._process.poll()) is not None:
            pid = self._process.pid
            self._note_death(pid, code)
            return pid
        return None

    def stop(self) -> None:
        """End it. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        with process:  # closes its standard input, which asks it to leave, and reaps it
            try:
                process.communicate(timeout=_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()

    def _spawn(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "apsdm_bluesky.streaming._hpc_main",
                *self._settings.arguments(self.number),
            ],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C is for the group's owner
        )

    def _note_death(self, pid: int, code: int) -> None:
        self.stop()
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        self.deaths.append({"consumer": self.number, "process": pid, "time": time.time(), "how": how})
        self._again_at = time.monotonic() + _FIRST_PAUSE_S * 2 ** (len(self.deaths) - 1)
        logger.warning(
            "consumer %d (pid %d) ended: %s; %s",
            self.number,
            pid,
            how,
            "given up" if self.given_up else "it is started again",
        )


class ConsumerGroup:
    """The consumers of one group.

    Raises
    ------
    StorageError
        The log cannot be written.
    ServiceError
        They cannot be started.
    """

    def __init__(self, count: int, settings: ConsumerSettings) -> None:
        self._log = _open(settings.log)
        self._settings = settings
        self.consumers: list[ConsumerProcess] = []
        try:
            for number in range(1, count + 1):
                self.consumers.append(ConsumerProcess(number, settings, self._log))
        except OSError as error:
            self.stop()
            raise ServiceError(f"a stream consumer cannot be started: {error.strerror}") from error

    @property
    def deaths(self) -> list[Death]:
        """Consumers that died: which, when and how."""
        return sorted(
            (death for consumer in self.consumers for death in consumer.deaths),
            key=itemgetter("time"),
        )

    def watch(self) -> list[int]:
        """Start again what died; returns the processes that died since the last call.

        Raises
        ------
        ServiceError
            None is left: each died too often.
        """
        died = [consumer.watch() for consumer in self.consumers]
        if all(consumer.given_up for consumer in self.consumers):
            raise ServiceError(f"every stream consumer died too often; see {self._settings.log}")

        return [pid for pid in died if pid is not None]

    def stop(self) -> None:
        """End them all. Idempotent."""
        for consumer in self.consumers:
            consumer.stop()
        self._log.close()


def _open(log: Path) -> IO[bytes]:
    try:
        return log.open("ab")
    except OSError as error:
        raise StorageError(f"{log}: cannot be written ({error.strerror}); give permission there") from error
