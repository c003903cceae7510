"""An agent that works on DAQs, experiments for its files, and what became of these."""

import contextlib
import ctypes
import hashlib
import os
import signal
import subprocess
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from apsdm_bluesky.agent import agent_process
from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.daq import ACTIVE, Daq, DaqFile, DaqOptions, FileState, Kind, NewDaq, open_daqs
from apsdm_bluesky.spool import RunFile, Spool
from apsdm_bluesky.workflows.jobs import JobStore
from tests.waiting import wait_for

QUICK: dict[str, Any] = {"settle_s": 0.1, "poll_s": 0.2, "catalogue_s": 0.1}
_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_CAPBSET_DROP = 24
_RIGHTS = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
T = TypeVar("T")
TAKEN = (FileState.STORED, FileState.CATALOGUED)


class Bench:
    """A state folder, with its DAQs and jobs; an agent works on it while `agent` is entered."""

    def __init__(self, folder: Path, *, root: Path | None = None, **daq: Any) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None
        self.config = BeamlineConfig(
            home=folder / "home", name="test", daq={**QUICK, **daq}, experiments={"root": root}
        )
        self.store = open_daqs(self.config)
        self.jobs = JobStore(self.config.folders.jobs)

    def close(self) -> None:
        self.store.close()
        self.jobs.close()

    @contextlib.contextmanager
    def agent(self) -> Iterator["subprocess.Popen[str]"]:
        """One for which permissions count, also where the tests are root's."""
        with contextlib.ExitStack() as stack:
            process = _in_thread(lambda: stack.enter_context(agent_process(self.config)))
            self.process = process
            yield process

    def experiment(self) -> "Experiment":
        return Experiment(self)

    def runs(self) -> list[RunFile]:
        return Spool(self.config.folders.spool).runs()

    def log(self, name: str = "daq") -> str:
        path = self.config.folders.logs / f"{name}.log"
        return path.read_text() if path.exists() else ""


class Experiment:
    """One of an experiment's folders, and one that a detector writes."""

    def __init__(self, bench: Bench, name: str | None = None) -> None:
        self.bench = bench
        self.store = bench.store
        self.name = name or f"exp-{uuid.uuid4().hex[:8]}"
        self.root = bench.config.experiments_root / self.name
        self.data = self.root / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self.source = bench.folder / "detector" / self.name
        self.source.mkdir(parents=True)

    def start(self, kind: Kind = Kind.DAQ, source: Path | None = None, **options: Any) -> Daq:
        new = NewDaq(
            kind=kind,
            experiment=self.name,
            station="test",
            source=source or self.source,
            root=self.root,
            owner="eva",
            options=DaqOptions(**options),
        )
        return self.store.start(new, actor="eva")

    def upload(self, source: Path | None = None, **options: Any) -> Daq:
        """One that has ended."""
        return self.ended(self.start(Kind.UPLOAD, source, **options))

    def stop(self, daq: Daq) -> Daq:
        """It has ended."""
        self.store.stop(daq.id, actor="eva")
        return self.ended(daq)

    def ended(self, daq: Daq) -> Daq:
        def is_over() -> bool:
            now = self.store.get(daq.id)
            return now.state not in ACTIVE and not now.counts.waiting and not now.counts.stored

        wait_for(is_over, 60, f"the end of {daq.kind} {daq.id} ({self.store.get(daq.id)})")
        return self.store.get(daq.id)

    def files(self, daq: Daq) -> dict[str, DaqFile]:
        return {file.name: file for file in self.store.files(daq.id)}

    def states(self, daq: Daq) -> dict[str, str]:
        return {name: file.state.value for name, file in self.files(daq).items()}

    def reason(self, daq: Daq, name: str) -> str:
        file = self.files(daq).get(name)
        return "" if file is None else file.reason

    def notices(self, daq: Daq) -> list[tuple[str, str]]:
        return [(notice.name, notice.text) for notice in self.store.notices(daq.id)]

    def wait_catalogued(self, daq: Daq, *names: str) -> None:
        def are_there() -> bool:
            states = self.states(daq)
            return all(states.get(name) == "catalogued" for name in names)

        wait_for(are_there, 60, f"the files {names} of {daq.id} ({self.states(daq)})")

    def wait_version(self, daq: Daq, name: str, version: int) -> None:
        def is_there() -> bool:
            file = self.files(daq).get(name)
            return file is not None and (file.state, file.version) == (FileState.CATALOGUED, version)

        wait_for(is_there, 60, f"version {version} of {name} ({self.files(daq).get(name)})")

    def wait_told(self, daq: Daq, text: str) -> None:
        wait_for(lambda: any(text in told for _, told in self.notices(daq)), 60, f"the notice {text!r}")

    def wait_hindered(self, daq: Daq, text: str) -> None:
        def is_told() -> bool:
            return text in self.store.get(daq.id).reason

        wait_for(is_told, 60, f"the reason {text!r} ({self.store.get(daq.id).reason})")

    def stored(self) -> dict[str, bytes]:
        """What lies in the experiment's data."""
        return {
            path.relative_to(self.data).as_posix(): path.read_bytes()
            for path in sorted(self.data.rglob("*"))
            if path.is_file()
        }

    def runs(self) -> list[RunFile]:
        return [run for run in self.bench.runs() if run.start["experiment"] == self.name]

    def in_runs(self) -> Counter[str]:
        """How often each path stands in a run."""
        found: Counter[str] = Counter()
        for run in self.runs():
            for name, doc in run.documents():
                if name == "stream_resource":
                    found[doc["parameters"]["name"]] += 1
        return found

    def check(self, *daqs: Daq) -> None:
        """All that the database says is so: on the disk, in the runs, each once, and nothing is left over."""
        paths = set()
        for daq in daqs:
            for file in self.store.files(daq.id, versions=True):
                if file.state in TAKEN:
                    assert file.path is not None
                    content = (self.data / file.path).read_bytes()
                    assert len(content) == file.size
                    assert file.sha256 in (None, hashlib.sha256(content).hexdigest())
                    if not file.reason:  # it was brought by this one
                        assert (self.data / file.path).stat().st_mtime_ns == file.mtime_ns
                    paths.add(file.path)
        assert set(self.stored()) == paths
        assert self.in_runs() == dict.fromkeys(paths, 1)
        self.check_nothing_left()

    def check_nothing_left(self) -> None:
        assert [path.name for path in self.root.rglob("*.part")] == []


def _in_thread(start: Callable[[], T]) -> T:
    """What is started by a thread that has given up root's right to read and write everything."""

    def without_rights() -> T:
        for right in _RIGHTS if os.geteuid() == 0 else ():
            if _LIBC.prctl(_PR_CAPBSET_DROP, right, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "a right cannot be given up")
        return start()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(without_rights).result()


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    try:
        texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return [int(each) for text in texts for each in text.split()]


def porter_of(bench: Bench) -> int | None:
    """The process that watches folders; None where there is none now."""
    assert bench.process is not None
    for pid in children(bench.process.pid):
        with contextlib.suppress(OSError):
            if b"apsdm_bluesky.daq" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                return pid
    return None


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
