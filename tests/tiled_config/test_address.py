"""Which server is ours."""

import json
import subprocess
import sys

import pytest

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ServiceError, StorageError
from apsdm_bluesky.tiled_config import running_server, server_uri


@pytest.fixture
def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def told(home, content):
    (home / "catalog").mkdir()
    (home / "catalog/server.json").write_text(content)
    return BeamlineConfig(home=home, server={"port": 0})


def test_the_running_server_is_found(tiled_server):
    assert running_server(tiled_server.config) == tiled_server.uri


def test_the_port_of_a_killed_server_may_be_anothers(tiled_server, tmp_path, dead_pid):
    config = told(tmp_path, json.dumps({"uri": tiled_server.uri, "pid": dead_pid}))
    assert running_server(config) is None
    with pytest.raises(ServiceError, match="no Tiled server runs"):
        server_uri(config)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"uri": "http://127.0.0.1:1"}', "3"])
def test_a_damaged_file_is_told(tmp_path, content):
    with pytest.raises(StorageError, match=r"server\.json: cannot be read"):
        running_server(told(tmp_path, content))
