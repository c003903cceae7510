"""What runs the processes of stages: this machine, and the remotes of the configuration."""

import os
from collections.abc import Callable, Collection
from pathlib import Path

from apsdm_bluesky.config import BeamlineConfig, GlobusComputeConfig, GlobusConfig
from apsdm_bluesky.durable import write_whole
from apsdm_bluesky.errors import ConfigError
from apsdm_bluesky.transfer import Globus
from apsdm_bluesky.workflows import LOCAL
from apsdm_bluesky.workflows.executors import Executor, GlobusCompute, LocalProcesses

_PASSED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH")


def open_executors(config: BeamlineConfig, notify: Callable[[], None]) -> dict[str, Executor]:
    """Every executor by the name that a stage's `where` has. Nothing is asked of a remote yet.

    Parameters
    ----------
    notify
        Called from any thread when one has something to tell.

    Raises
    ------
    ConfigError
        A remote cannot be used as it is configured.
    StorageError
        The folder of jobs cannot be written.
    """
    local = config.workflows.local
    remotes = {name: _remote(config, name) for name in config.workflows.remotes}
    processes = LocalProcesses(  # the last: it starts a process at once
        config.folders.jobs / ".processes",
        parallel=local.parallel,
        memory_bytes=None if local.memory_gb is None else int(local.memory_gb * 1e9),
        cpus=local.cpus,
        output_bytes=int(local.output_gb * 1e9),
        environment={**_environment(local.environment), "APSDM_CONFIG": str(_kept_config(config))},
        notify=notify,
    )
    return {LOCAL: processes, **remotes}


def _environment(more: Collection[str]) -> dict[str, str]:
    """What processes of stages see of the agent's: it may hold secrets, which their record would not."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED or name.startswith("LC_") or name in more
    }


def _kept_config(config: BeamlineConfig) -> Path:
    """A file with the agent's configuration: stages that are commands of ours find their beamline by it."""
    path = config.folders.jobs / ".beamline.yml"
    for left in path.parent.glob(f".{path.name}.*.part"):  # of an agent that was killed
        left.unlink()
    own = config.model_copy(update={"home": config.folders.root})
    write_whole(path, own.model_dump_json().encode(), mode=0o600, overwrite=True)  # JSON is YAML
    return path


def remote_folder(config: BeamlineConfig, name: str) -> Path:
    """Where the login to a remote, and what was registered there, is kept."""
    return config.folders.jobs / ".remotes" / name


def _remote(config: BeamlineConfig, name: str) -> Executor:
    remote, folder = config.workflows.remotes[name], remote_folder(config, name)
    transfer = None if remote.collection is None else _results(config, name, remote, folder)
    return GlobusCompute(remote, folder=folder, transfer=transfer)


def _results(config: BeamlineConfig, name: str, remote: GlobusComputeConfig, folder: Path) -> Globus:
    """Moves results here, to the collection that the archive sends from."""
    here = config.archive.globus
    if here is None or not config.folders.jobs.is_relative_to(here.local_root):
        raise ConfigError(
            f"workflows.remotes.{name}.collection: results come to archive.globus.local_collection;"
            f" configure one whose local_root holds {config.folders.jobs}"
        )
    settings = GlobusConfig(
        name=name,
        client_id=remote.client_id,
        login=remote.login,
        secret_file=remote.secret_file,
        local_collection=here.local_collection,
        local_root=here.local_root,
        collection=str(remote.collection),
        base_path=remote.collection_path,
    )
    return Globus(settings, folder=folder / "transfer")
