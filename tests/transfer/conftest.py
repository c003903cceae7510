"""One stand-in for Globus for the whole module; what a test changed in it is undone."""

from collections.abc import Iterator

import pytest

from apsdm_bluesky.sim import GlobusProcess
from apsdm_bluesky.sim.globus import Behaviour


@pytest.fixture(scope="session")
def globus_process(tmp_path_factory) -> Iterator[GlobusProcess]:
    base = tmp_path_factory.getbasetemp()
    with GlobusProcess(tmp_path_factory.mktemp("globus"), local=base) as process:
        yield process


@pytest.fixture
def globus(globus_process, monkeypatch) -> Iterator[GlobusProcess]:
    for name, value in globus_process.environment.items():
        monkeypatch.setenv(name, value.rstrip("/") + "/")  # the SDK appends to it, as to the true address
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
