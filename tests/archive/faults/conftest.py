"""The stand-in for Globus with nothing left of the fault before, and a beamline that archives to it."""

import pytest

from .world import World


@pytest.fixture
def globus(globus):
    yield globus
    globus.reset()


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
