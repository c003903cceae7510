"""The script of the documentation, as somebody has it who wrote it for DM, against `apsdm up`."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
import yaml

from apsdm_bluesky.config import load_config
from apsdm_bluesky.daq import open_daqs
from apsdm_bluesky.tiled_config import PasswordFile
from tests.commands import apsdm, started
from tests.docs.pages import blocks
from tests.people import PASSWORD
from tests.waiting import wait_for

PAGE = "docs/how-to/dm-clients.md"
FRAMES = b"frames"


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A folder in which a detector has written a file."""
    folder = tmp_path_factory.mktemp("detector")
    (folder / "frames.h5").write_bytes(FRAMES)
    return folder


@pytest.fixture(scope="module")
def config_file(tmp_path_factory, detector):
    """The beamline of the page, at free ports."""
    (text,) = [block.code for block in blocks("yaml") if block.page == PAGE]
    settings = yaml.safe_load(text)
    folder = tmp_path_factory.mktemp("story")
    settings |= {"home": str(folder / "home"), "server": {"port": 0, "dm_ports": [0] * 4}}
    settings["daq"]["sources"] = [str(detector)]
    path = folder / "beamline.yml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture(scope="module")
def config(config_file):
    return load_config(config_file)


@pytest.fixture(scope="module")
def ports(config_file, config):
    PasswordFile.of(config.folders).add("ann", PASSWORD)
    made = ["experiment", "create", "gel-2026", "--user", "ann", "--config", config_file]
    apsdm(*made)
    with started("up", "--config", config_file, "--json") as process:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        ready = json.loads((config.folders.catalog / "server.json").read_text())
        yield ready["dm_ports"]
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def environment(ports, tmp_path, config):
    """What the page has one set, with the addresses of the four services."""
    login = tmp_path / "login"
    login.write_text(f"ann|{PASSWORD}\n")
    names = ("APS_DB", "DS", "DAQ", "PROC")
    services = zip(names, ports, strict=True)
    addresses = {f"DM_{name}_WEB_SERVICE_URL": f"http://127.0.0.1:{port}" for name, port in services}
    mine = {"DM_LOGIN_FILE": str(login), "DM_STATION_NAME": config.station, "NO_PROXY": "127.0.0.1"}
    return {**os.environ, **addresses, **mine}


def run(detector, environment, tmp_path):
    (code,) = [block.code for block in blocks("python dm") if block.page == PAGE]
    script = tmp_path / "script.py"
    script.write_text(code)
    command = [sys.executable, "-W", "ignore", script, detector, "gel-2026"]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path
    )


def test_the_page_names_the_variables_of_the_client(environment):
    (block,) = [block.code for block in blocks("bash") if block.page == PAGE]
    named = {line.removeprefix("export ").partition("=")[0] for line in block.splitlines()}
    assert named == {name for name in environment if name.startswith("DM_")}


def test_a_script_written_for_dm_runs_with_its_addresses_changed(detector, environment, tmp_path, config):
    done = run(detector, environment, tmp_path)
    assert done.returncode == 0, done.stderr
    checksum = hashlib.md5(FRAMES, usedforsecurity=False).hexdigest()
    assert f"gel-2026 {config.experiments_root}/gel-2026/data" in done.stdout
    assert "DAQ running" in done.stdout
    assert "job done" in done.stdout
    assert f"0 gel-2026 {checksum}" in done.stdout
    daqs = open_daqs(config)
    (daq,) = daqs.list(experiment="gel-2026")
    daqs.close()
    assert (daq.owner, daq.source, daq.options.exclude) == ("ann", detector, ("*.tmp",))
    assert not (config.experiments_root / "gel-2026" / "data" / "frames.h5").exists()  # it was there before

    (detector / "later.dat").write_bytes(FRAMES)
    stored = config.experiments_root / "gel-2026" / "data" / "later.dat"
    wait_for(stored.exists, 120, "a file that the DAQ has taken")

    again = run(detector, environment, tmp_path)
    assert again.returncode == 0, again.stderr
    assert "DAQ watches that folder already" in again.stdout
    assert f"0 gel-2026 {checksum}" in again.stdout
