"""A demo run against the session's `apsdm up`."""

import json

import pytest

from tests.commands import apsdm, beamline
from tests.servers import tiled_server
from tests.shipped import job_store, shipped_config, shipped_run

__all__ = ["apsdm", "beamline", "job_store", "shipped_config", "shipped_run", "tiled_server"]


@pytest.fixture(scope="session")
def demo(beamline):
    """One demo run against the running beamline: its JSON."""
    return json.loads(apsdm("demo", "--json", "--seed", 4, home=beamline.home).stdout)
