"""A `GlobusCompute` that talks to the stand-in, and tasks for it."""

import uuid
from pathlib import Path

from apsdm_bluesky.config import GlobusComputeConfig
from apsdm_bluesky.errors import ServiceError
from apsdm_bluesky.sim import GlobusProcess
from apsdm_bluesky.transfer import Transfer
from apsdm_bluesky.workflows.executors import Ended, GlobusCompute, Lost, Report, Task
from tests.globus import secret_file
from tests.waiting import wait_for


def config_of(process: GlobusProcess, folder: Path, **changes: object) -> GlobusComputeConfig:
    told = {
        "endpoint": process.endpoint,
        "client_id": process.client_id,
        "secret_file": secret_file(process, folder),
    }
    return GlobusComputeConfig(**told | changes)


def executor(
    process: GlobusProcess, folder: Path, *, transfer: Transfer | None = None, **changes: object
) -> GlobusCompute:
    if transfer is not None:
        changes = {"collection": process.collections["tape"]} | changes
    config = config_of(process, folder, **changes)
    return GlobusCompute(config, folder=folder / "compute", transfer=transfer, grace_s=0.3)


def shell(folder: Path, script: str, **changes: object) -> Task:
    """A task that runs a script, under a new id."""
    task_id = uuid.uuid4().hex
    told = {"id": task_id, "command": ("sh", "-c", script), "folder": folder / "tasks" / task_id}
    return Task(**told | changes)


def counting(folder: Path, **changes: object) -> Task:
    """A task that adds a line to the file `effects` each time that it runs."""
    return shell(folder, f"echo once >> {folder / 'effects'}; echo done", **changes)


def effects(folder: Path) -> int:
    return len((folder / "effects").read_text().split())


def started(compute: GlobusCompute, task: Task) -> None:
    """While Compute does not answer, it is asked again."""

    def accepted() -> bool:
        try:
            compute.start(task)
        except ServiceError:
            return False
        return True

    wait_for(accepted, message="a start")


def looked(compute: GlobusCompute, task: Task) -> Report | None:
    """What it tells; while Compute does not answer, it is asked again."""
    reports: list[Report | None] = []

    def told() -> bool:
        try:
            reports.append(compute.look(task))
        except ServiceError:
            return False
        return True

    wait_for(told, message="a report")
    return reports[-1]


def end_of(compute: GlobusCompute, task: Task) -> Ended | Lost:
    reports: list[Report | None] = []

    def ended() -> bool:
        reports.append(looked(compute, task))
        return isinstance(reports[-1], Ended | Lost)

    try:
        wait_for(ended, message=f"the end of task {task.id}")
    except AssertionError as error:
        raise AssertionError(f"{error}; it tells {reports[-1:]}") from error
    return reports[-1]
