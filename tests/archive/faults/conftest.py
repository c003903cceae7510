"""One stand-in for Globus for all faults; what a test changed in it is undone."""

from collections.abc import Iterator

import pytest

from apsdm_bluesky.sim import GlobusProcess

from .world import World


@pytest.fixture(scope="session")
def globus_process(tmp_path_factory) -> Iterator[GlobusProcess]:
    local = tmp_path_factory.getbasetemp()
    with GlobusProcess(tmp_path_factory.mktemp("globus"), local=local) as process:
        yield process


@pytest.fixture
def globus(globus_process, monkeypatch) -> Iterator[GlobusProcess]:
    for name, value in globus_process.environment.items():
        monkeypatch.setenv(name, value.rstrip("/") + "/")
    yield globus_process
    globus_process.reset()


@pytest.fixture
def make_world(globus, tmp_path):
    """Makes the `World` of a test, with changes of its configuration."""
    worlds: list[World] = []

    def make(**changes) -> World:
        worlds.append(World(globus, tmp_path, **changes))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def world(make_world) -> World:
    return make_world()
