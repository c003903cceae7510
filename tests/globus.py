"""The stand-in for Globus, and a `Globus` that talks to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from apsdm_bluesky.config import GlobusConfig
from apsdm_bluesky.errors import ServiceError
from apsdm_bluesky.sim import GlobusProcess
from apsdm_bluesky.sim.globus import Behaviour
from apsdm_bluesky.transfer import Direction, Globus, TaskReport, TaskStatus, TransferItem, TransferRequest
from tests.waiting import wait_for


@pytest.fixture(scope="session")
def globus_process(tmp_path_factory) -> Iterator[GlobusProcess]:
    base = tmp_path_factory.getbasetemp()
    with GlobusProcess(tmp_path_factory.mktemp("globus"), local=base) as process:
        yield process


@pytest.fixture
def globus(globus_process, monkeypatch) -> Iterator[GlobusProcess]:
    for name, value in globus_process.environment.items():
        monkeypatch.setenv(name, value)
    yield globus_process
    globus_process.clear_faults()
    globus_process.configure(**Behaviour().model_dump())
    globus_process.delete_client(deleted=False)
    for collection in ("local", "tape"):
        globus_process.quota(collection, None)
        globus_process.require_consent(collection, required=False)
        globus_process.require_session(collection, None)
        globus_process.resume(collection)
        globus_process.expire_credentials(collection, expired=False)


def config_of(process: GlobusProcess, folder: Path, **changes: object) -> GlobusConfig:
    """For the test whose files lie in `folder`: a destination folder of its own."""
    told = {
        "local_collection": process.collections["local"],
        "local_root": process.root("local"),
        "collection": process.collections["tape"],
        "base_path": f"/{folder.name}",
        "client_id": process.client_id,
        "secret_file": secret_file(process, folder),
    }
    return GlobusConfig(**told | changes)


def secret_file(process: GlobusProcess, folder: Path) -> Path:
    path = folder / "secret"
    folder.mkdir(exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(process.client_secret)
    return path


def mover(process: GlobusProcess, folder: Path, **changes: object) -> Globus:
    return Globus(config_of(process, folder, **changes), folder=folder / "state")


def request(transfer: Globus, source: Path, remote: str = "a/file", direction: Direction = Direction.SEND):
    """For one file, under a new submission id."""
    item = TransferItem(local=source, remote=remote)
    return TransferRequest(
        submission_id=transfer.new_submission_id(), direction=direction, items=(item,), label="a test"
    )


def finish(transfer: Globus, wanted: TransferRequest) -> TaskReport:
    return end_of(transfer, transfer.submit(wanted))


def end_of(transfer: Globus, task: str) -> TaskReport:
    """How the task ended; while Globus does not serve, it is asked again."""
    reports = []

    def ended():
        try:
            reports.append(transfer.status(task))
        except ServiceError:
            return False
        return reports[-1].status in (TaskStatus.SUCCEEDED, TaskStatus.FAILED)

    wait_for(ended, message=f"the end of task {task}")
    return reports[-1]


def submitted(transfer: Globus, wanted: TransferRequest) -> str:
    """The task's id; while Globus does not serve, it is asked again."""
    tasks = []

    def accepted():
        try:
            tasks.append(transfer.submit(wanted))
        except ServiceError:
            return False
        return True

    wait_for(accepted, message="a task")
    return tasks[0]
