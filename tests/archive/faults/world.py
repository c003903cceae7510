"""A beamline whose agent archives to the stand-in for Globus, and what must hold whatever happens to it."""

import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from apsdm_bluesky.agent import agent_process
from apsdm_bluesky.archive import Evidence, Ledger, Record, Resumed, RunEntry, State, manifest_path
from apsdm_bluesky.sim import GlobusProcess
from tests.archive.samples import SampleBeamline
from tests.globus import config_of
from tests.waiting import wait_for

PATIENCE_S = 60.0
SENT, READ = "send SUCCEEDED", "fetch SUCCEEDED"
_DELIVERED = (State.COPIED, State.ON_TAPE, State.VERIFIED)


class World:
    """The beamline in `folder`/home, and its destination ``/<name of folder>`` at the stand-in.

    Parameters
    ----------
    mover
        Changes of `archive.globus`.
    archive
        Changes of `archive`.
    """

    def __init__(self, globus: GlobusProcess, folder: Path, *, mover: dict | None = None, **archive: Any):
        self.globus = globus
        self.folder = folder
        told = config_of(globus, folder, **(mover or {}))
        self.sample = SampleBeamline(folder / "home", **{"globus": told, **archive})
        self.config = self.sample.config
        self.folders = self.sample.folders
        self.sources: dict[Path, tuple[str, int]] = {}
        self.agent: subprocess.Popen[str] | None = None
        self._stack = ExitStack()
        self._claims: set[tuple[str, ...]] = set()

    # What happens

    def take(self, uid: str = "raw", *, rows: int = 10) -> Path:
        """A whole run; returns the folder of its frames."""
        frames = self.sample.take(uid, rows=rows)
        self.note_sources()
        return frames

    def note_sources(self) -> None:
        """What stands in the raw folder now must not be changed by anybody but the test."""
        self.sources = snapshot(self.folders.raw)

    def start(self, **changes: Any) -> None:
        """Start the agent, with changes of `archive.globus` from now on."""
        if changes:
            globus = self.config.archive.globus.model_copy(update=changes)
            archive = self.config.archive.model_copy(update={"globus": globus})
            self.config = self.config.model_copy(update={"archive": archive})
        self.agent = self._stack.enter_context(agent_process(self.config))

    def kill(self) -> None:
        """End the agent as ``kill -9`` does."""
        self.agent.kill()
        self.agent.wait()
        self._stack.close()

    def stop(self) -> None:
        """End the agent in order."""
        self._stack.close()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The agent does nothing meanwhile; it may be killed."""
        self.agent.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.agent.pid, os.WSTOPPED | os.WNOWAIT)
        yield
        if self.agent.poll() is None:
            self.agent.send_signal(signal.SIGCONT)

    def resume(self, uid: str = "raw") -> None:
        """A person has acted. The state that was true once is shown again until the agent has looked."""
        with self.ledger() as ledger:
            record = ledger.apply(uid, Resumed(), actor="a person")
        self._claims.add(_claim(record))

    # What is seen

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        ledger = Ledger(self.folders.archive)
        try:
            yield ledger
        finally:
            ledger.close()

    def look(self) -> dict[str, Record]:
        """The records by uid; what they claim is checked when it is first seen."""
        with self.ledger() as ledger:
            records = {record.uid: record for record in ledger.list()}
        for record in records.values():
            if _claim(record) not in self._claims:
                self._check(record)
                self._claims.add(_claim(record))
        return records

    def until(self, state: State, uid: str = "raw", *, reason: str = "") -> Record:
        """Wait until the bundle is in `state`, for a reason that holds the text; returns its record."""
        seen: list[Record | None] = [None]

        def reached() -> bool:
            seen[0] = self.look().get(uid)
            return seen[0] is not None and seen[0].state is state and reason in seen[0].reason

        self._wait(reached, lambda: f"bundle {uid} {state} {reason!r}; it is {seen[0]}")
        return seen[0]

    def until_other_than(self, states: Sequence[State], uid: str = "raw") -> Record:
        """Wait until the bundle is in none of these states; returns its record."""
        seen: list[Record | None] = [None]

        def reached() -> bool:
            seen[0] = self.look().get(uid)
            return seen[0] is not None and seen[0].state not in states

        self._wait(reached, lambda: f"another state than {states}")
        return seen[0]

    def until_run(self, reason: str, uid: str = "raw") -> RunEntry:
        """Wait until the run tells the reason; returns its entry."""
        seen: list[RunEntry | None] = [None]

        def reached() -> bool:
            with self.ledger() as ledger:
                seen[0] = ledger.runs.get(uid)
            return seen[0] is not None and reason in seen[0].reason

        self._wait(reached, lambda: f"run {uid} with {reason!r}; it is {seen[0]}")
        return seen[0]

    def until_log(self, text: str) -> None:
        """Wait until an agent wrote it."""
        self._wait(lambda: text in self.log(), lambda: f"{text!r} in the log")

    def until_hit(self, route: str, times: int = 1) -> None:
        """Wait until a planned fault has struck so often."""
        struck = self.globus.faults_hit
        wait_for(lambda: len(struck(route)) >= times, PATIENCE_S, f"{times} faults of {route}")

    def tasks(self) -> list[dict[str, Any]]:
        """Every task that Globus has had for this beamline."""
        ours = f"/{self.folder.name}/"
        transfers = [task for task in self.globus.tasks() if task["type"] == "TRANSFER"]
        return [
            task for task in transfers if any(item["source_path"].startswith(ours) for item in task["items"])
        ]

    def told_tasks(self) -> list[str]:
        """The same as ``send SUCCEEDED``, ``fetch ACTIVE`` and so on."""
        tape = self.globus.collections["tape"]
        ways = {True: "send", False: "fetch"}
        return [f"{ways[task['destination_endpoint_id'] == tape]} {task['status']}" for task in self.tasks()]

    def history(self, uid: str = "raw") -> list[str]:
        """The events of a run and its bundle."""
        with self.ledger() as ledger:
            return [entry.event for entry in ledger.history(uid)]

    def tape(self, path: str = "") -> Path:
        """A place at the destination."""
        return self.globus.root("tape") / self.folder.name / path

    def tape_path(self, record: Record) -> str:
        """The path of a bundle for the stand-in's controls."""
        return f"/{self.folder.name}/{record.destination}"

    def log(self) -> str:
        """What the agents wrote."""
        path = self.folders.logs / "agent.log"
        return path.read_text() if path.exists() else ""

    # What must hold

    def check(self, *tasks: str, beside: tuple[str, ...] = ()) -> None:
        """After all: one verified record a run, the sources as they were, the bundles whole, these tasks.

        Parameters
        ----------
        tasks
            As `told_tasks` tells them; by default one out and one back a bundle.
        beside
            What else stands at the destination.
        """
        records = list(self.look().values())
        with self.ledger() as ledger:
            runs = {run.uid: run.state for run in ledger.runs.list()}
        assert runs == {run.uid: State.VERIFIED for run in self.sample.session.runs()}
        assert sorted(run for record in records for run in record.runs) == sorted(runs)
        for record in records:
            self._check(record)
            self._check_history(record)
        assert snapshot(self.folders.raw) == self.sources
        assert sorted(self.told_tasks()) == sorted(tasks or [SENT, READ] * len(records))
        made = [path for record in records for path in both(record.destination)]
        files = (path for path in self.tape().rglob("*") if path.is_file())
        there = sorted(path.relative_to(self.tape()).as_posix() for path in files)
        assert there == sorted([*made, *beside])
        wait_for(lambda: self._left() == [], PATIENCE_S, "the removal of local copies")

    def _check(self, record: Record) -> None:
        """A state is never better than what is there."""
        if record.collection != "globus":
            return
        if record.state is State.SUBMITTED:
            task = self._mover_record(record)
            assert record.task_id in (task["first_task_id"], task["request"]["submission_id"]), record
        if record.state in _DELIVERED:
            tar, manifest = (self.tape(path) for path in both(record.destination))
            assert (tar.stat().st_size, manifest.stat().st_size) == (record.size, record.manifest_size)
        if record.state is State.VERIFIED:
            assert (sha256(tar), sha256(manifest)) == (record.sha256, record.manifest_sha256)
            assert record.evidence is Evidence.RESTORED_SHA256
        else:
            assert record.evidence is None, record

    def _check_history(self, record: Record) -> None:
        """Each state was reached by what was observed, and no other way."""
        with self.ledger() as ledger:
            entries = ledger.history(record.uid)
        for entry in entries:
            if entry.to_state == State.COPIED and entry.from_state == State.SUBMITTED:
                assert entry.event == "Arrived"
                assert entry.evidence["found_size"] == record.size
            if entry.to_state == State.VERIFIED:
                assert entry.event in ("ReadBack", "ReadAgain")
                assert entry.evidence["found_sha256"] == record.sha256
        assert entries[-1].to_state == State.VERIFIED

    def _mover_record(self, record: Record) -> dict[str, Any]:
        return json.loads((self.folders.globus / f"tasks/{record.submission_id}.json").read_bytes())

    def _left(self) -> list[Path]:
        """Parts, tars and what was read back: nothing of it stays."""
        found = self.folders.archive.rglob("*")
        return [path for path in found if path.suffix in (".part", ".tar") or path.parent.name == "readback"]

    def _wait(self, reached: Any, message: Any) -> None:
        try:
            wait_for(reached, PATIENCE_S)
        except AssertionError:
            pytest.fail(f"waited in vain for {message()}; agent's log:\n{self.log()[-3000:]}")

    def close(self) -> None:
        if self.agent is not None and self.agent.poll() is None:
            self.agent.send_signal(signal.SIGCONT)
        self._stack.close()
        self.sample.session.close()


def _claim(record: Record) -> tuple[str, ...]:
    return record.uid, record.state, str(record.submission_id)


def both(tar: str) -> tuple[str, str]:
    """A bundle's path and that of its manifest."""
    return tar, manifest_path(tar)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def snapshot(folder: Path) -> dict[Path, tuple[str, int]]:
    """Digest and time of every file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: (sha256(path), path.stat().st_mtime_ns) for path in files}
