"""The processes that stay: what ends them, what refuses them, and that nothing of them is left."""

import json
import os
import signal
import socket

import filelock
import pytest

from apsdm_bluesky.agent import agent_process
from apsdm_bluesky.cli._services import services
from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.tiled_config import server_key, server_process
from tests.commands import alive, all_gone, apsdm, children, command, pid_of, started, told
from tests.waiting import wait_for

SERVER, AGENT, DETECTOR = "apsdm_bluesky.web", "apsdm_bluesky.agent", "apsdm_bluesky.sim.ioc"


@pytest.fixture
def up(write_config):
    """An `apsdm up` to be harmed, and its children."""
    with started("up", "--config", write_config(), "--json") as process:
        assert process.stdout.readline(), process.stderr.read()
        pids = children(process.pid)
        assert {SERVER, AGENT} <= set(pids.values())
        yield process, pids
        all_gone(pids)


def test_nothing_outlives_an_up_that_is_killed(up):
    process, pids = up
    process.kill()
    process.wait(10)
    all_gone(pids)


def test_up_tells_that_its_server_died(up):
    process, pids = up
    os.kill(pid_of(pids, SERVER), signal.SIGKILL)
    assert process.wait(30) == 1
    text = process.stderr.read()
    assert text.startswith("apsdm: the Tiled server ended unexpectedly (killed by signal 9); see ")
    assert text.count("\n") == 1


@pytest.fixture
def busy_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("name", ["up", "serve"])
def test_a_port_in_use(write_config, busy_port, name):
    done = apsdm(name, "--config", write_config(server={"port": busy_port}), check=False)
    assert done.returncode == 1
    line = told(done)
    assert f"port {busy_port} on 127.0.0.1 cannot be used" in line
    assert "set server.port" in line


@pytest.mark.parametrize("name", ["up", "shell"])
def test_a_server_that_does_not_answer(write_config, name):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = apsdm(name, "--config", write_config(server={"uri": f"http://127.0.0.1:{port}"}), check=False)
    assert done.returncode == 1
    assert f"no Tiled server answers at http://127.0.0.1:{port}" in told(done)


def test_a_wrong_key(write_config, beamline):
    path = write_config(server={"uri": beamline.uri})
    done = apsdm("shell", "--config", path, env={"TILED_API_KEY": "wrong"}, check=False)
    assert done.returncode == 1
    assert "check the API key" in told(done)
    done = apsdm("doctor", "--json", "--config", path, env={"TILED_API_KEY": "wrong"}, check=False)
    (finding,) = [found for found in json.loads(done.stdout)["findings"] if found["subject"] == "Tiled"]
    assert finding["level"] == "fault"
    assert "check the API key" in finding["found"]


def test_a_second_up_is_refused(beamline):
    done = apsdm("up", "--config", beamline.config_file, check=False)
    assert done.returncode == 1
    assert f"'apsdm up' runs here already (pid {beamline.process.pid}); use it" in told(done)


def test_a_command_that_starts_nothing_keeps_no_other_out(tmp_path):
    """Server and agent run already, each by itself: two shells may use them at once."""
    config = BeamlineConfig(home=tmp_path, server={"port": 0})
    with (
        server_process(config) as server,
        agent_process(config, uri=server.uri, api_key=server_key(config)),
        services(config) as first,
        services(config) as second,
    ):
        assert first.uri == second.uri == server.uri
        assert first.own == second.own == {}


@pytest.mark.parametrize("name", ["demo", "up", "shell"])
def test_the_server_of_another_demo_is_not_borrowed(tmp_path, name):
    """It would end with that demo."""
    (tmp_path / "services.json").write_text(json.dumps({"pid": 7, "lasting": False}))
    with filelock.FileLock(tmp_path / "services.lock"):
        done = apsdm(name, home=tmp_path, check=False)
    assert done.returncode == 1
    assert "a command with a server of its own runs here already (pid 7); wait for its end" in told(done)


def test_serve_ends_by_sigterm(write_config):
    with started("serve", "--config", write_config()) as process:
        line = process.stderr.readline()
        while line and "Tiled serves at" not in line:
            line = process.stderr.readline()
        assert line.startswith("apsdm: ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_the_agent_ends_by_sigterm(tmp_path, write_config):
    with started("agent", "--config", write_config(server={"port": 9})) as process:
        wait_for(lambda: (tmp_path / "home/archive/agent.json").exists(), message="the agent")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


def frames_flow(home, before=()):
    """New arrays of pixels: they are made when the first frames come."""
    return set((home / "raw").glob("*/*/*/*.zarr/image")) - set(before)


def test_ctrl_c_aborts_a_demo(beamline):
    before = frames_flow(beamline.home)
    with started("demo", "--frames", 20000, "--json", home=beamline.home) as process:
        wait_for(lambda: frames_flow(beamline.home, before) or process.poll() is not None, 120, "frames")
        pids = children(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130, process.stderr.read()
        assert process.stdout.read() == ""
        assert process.stderr.read() == "apsdm: interrupted\n"
    assert DETECTOR in pids.values()
    all_gone(pids)
    last = max((beamline.home / "spool").iterdir(), key=lambda folder: folder.name)
    (uid,) = [start["uid"] for start in starts(last) if "raw_uid" not in start]
    wait_for(lambda: beamline.stop_document(uid), 60, "the run's end in the catalogue")
    stop = beamline.stop_document(uid)
    assert stop["exit_status"] == "abort"
    assert "of 20000 frames" in stop["reason"]


def starts(session):
    for path in sorted(session.iterdir()):
        if path.name.endswith(".jsonl"):
            yield json.loads(path.read_text().partition("\n")[0])[1]


def test_two_demos_at_once_share_one_up(beamline):
    options = ("demo", "--frames", 64, "--json")
    with (
        started(*options, home=beamline.home) as first,
        started(*options, home=beamline.home) as second,
    ):
        results = [json.loads(process.communicate(timeout=200)[0]) for process in (first, second)]
        assert first.returncode == second.returncode == 0
    assert len({result["scan_id"] for result in results}) == 2
    for result in results:
        assert result["frames"]["stored"] == 64
        assert result["archive"]["state"] == "VERIFIED"


def test_a_detector_that_dies_makes_no_success(beamline):
    before = frames_flow(beamline.home)
    with started("demo", "--frames", 20000, "--json", home=beamline.home) as process:
        wait_for(lambda: frames_flow(beamline.home, before) or process.poll() is not None, 120, "frames")
        os.kill(pid_of(children(process.pid), DETECTOR), signal.SIGKILL)
        out, err = process.communicate(timeout=200)
    assert process.returncode == 1
    frames = json.loads(out)["frames"]
    assert frames["expected"] == 20000
    assert frames["missing"] == 20000 - frames["received"] > 0
    assert err.startswith("apsdm: run ")
    assert "is not complete" in err
    assert err.count("\n") == 1


def test_helpers_see_what_they_should():
    with started("demo", home="/dev/null/x") as process:
        assert alive(process.pid)
        process.wait(30)
    assert not alive(process.pid)
    assert command("up", home="x")[-3:] == ["up", "--home", "x"]
