"""EPICS of one process never meets that of another. Most of it needs a fresh process each."""

import os
import socket
import subprocess
import sys

import pytest

from apsdm_bluesky.errors import ConfigError
from apsdm_bluesky.sim import isolate_epics

from .client import Client


def run(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


def test_everything_stays_on_loopback():
    settings = isolate_epics()
    assert all(os.environ[name] == value for name, value in settings.items())
    for name in settings:
        if "AUTO" in name:
            assert settings[name] == "NO"
        elif name.endswith("ADDR_LIST"):
            assert {address.split(":")[0] for address in settings[name].split()} == {"127.0.0.1"}


def test_isolating_twice_changes_nothing():
    assert isolate_epics() == isolate_epics()
    with pytest.raises(ConfigError, match="confined to the ports"):
        isolate_epics([1, 2, 3])


def test_two_processes_choose_different_ports():
    script = "from apsdm_bluesky.sim import isolate_epics; print(isolate_epics()['EPICS_PVA_BROADCAST_PORT'])"
    assert run(script).stdout.strip() != os.environ["EPICS_PVA_BROADCAST_PORT"]


def test_importing_the_room_loads_no_epics_library():
    run(
        "import sys; from apsdm_bluesky.sim import isolate_epics; isolate_epics();"
        "assert not {'pvaccess', 'epics', 'caproto', 'ophyd'} & set(sys.modules)"
    )


@pytest.mark.parametrize("library", ["pvaccess", "epics"])
def test_too_late_is_refused(library):
    script = f"""
import {library}
from apsdm_bluesky.errors import ConfigError
from apsdm_bluesky.sim import isolate_epics
try:
    isolate_epics()
except ConfigError as error:
    print(error)
"""
    assert run(script).stdout.startswith(f"{library} loaded before the simulated beamline: call")


def test_given_ports_are_used_or_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        script = f"""
from apsdm_bluesky.errors import ConfigError
from apsdm_bluesky.sim import isolate_epics
for ports in ([1, 2], [20001, 20002, {taken.getsockname()[1]}]):
    try:
        isolate_epics(ports)
    except ConfigError as error:
        print(error)
"""
        too_few, in_use = run(script).stdout.splitlines()
    assert too_few.startswith("ports [1, 2]: give one for PVA")
    assert "cannot be used" in in_use


def test_detector_without_isolation_is_refused():
    script = """
from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.errors import AcquisitionError
from apsdm_bluesky.sim import DetectorProcess
try:
    DetectorProcess("x:", SimulationConfig()).start()
except AcquisitionError as error:
    print(error)
"""
    assert "isolate_epics" in run(script).stdout


def test_no_more_detectors_than_ports():
    script = """
from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.errors import AcquisitionError
from apsdm_bluesky.sim import isolate_epics
from apsdm_bluesky.sim._ports import server_ports
from contextlib import ExitStack
isolate_epics()
with ExitStack() as stack:
    ports = {stack.enter_context(server_ports())["EPICS_CA_SERVER_PORT"] for _ in range(8)}
    assert len(ports) == 8
    try:
        stack.enter_context(server_ports())
    except AcquisitionError as error:
        print(error)
with server_ports():
    print("free again")
"""
    refused, again = run(script).stdout.splitlines()
    assert refused.startswith("8 simulated detectors run already")
    assert again == "free again"


def test_same_prefix_in_two_processes(shared_detector):
    """The other process finds nothing of ours, then only its own; nothing is written to its terminal."""
    script = """
from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.sim import DetectorProcess, isolate_epics
isolate_epics()
import epics, pvaccess
size = epics.PV("shared:cam1:SizeX_RBV")
assert not size.wait_for_connection(1.0)
channel = pvaccess.Channel("shared:Pva1:Image")
channel.setTimeout(1.0)
try:
    channel.get("")
except pvaccess.PvaException:
    pass
else:
    raise AssertionError("found the other process's image")
with DetectorProcess("shared:", SimulationConfig(shape=(20, 30))):
    assert size.wait_for_connection(30)
    assert size.get() == 30
    channel.setTimeout(30)
    assert channel.get("")["uniqueId"] == 0
"""
    ours = Client("shared:")
    ours.prepare(3)
    ours.acquire()
    done = run(script)
    assert done.stdout == done.stderr == ""
    assert Client("shared:").get("cam1:SizeX_RBV") == 64
