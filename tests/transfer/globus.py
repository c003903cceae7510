"""A `Globus` that talks to the stand-in."""

from pathlib import Path

from apsdm_bluesky.config import GlobusConfig
from apsdm_bluesky.errors import ServiceError
from apsdm_bluesky.sim import GlobusProcess
from apsdm_bluesky.transfer import Direction, Globus, TaskReport, TaskStatus, TransferItem, TransferRequest
from tests.waiting import wait_for


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
