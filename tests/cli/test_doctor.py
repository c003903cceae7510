"""`apsdm doctor`: each fault is found, with what to do about it."""

import json
import socket

from tests.commands import apsdm


def findings(*arguments, code, **options):
    done = apsdm("doctor", "--json", *arguments, check=False, **options)
    assert done.returncode == code, done.stderr
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()  # one JSON object, and nothing else
    return {found["subject"]: found for found in json.loads(line)["findings"]}


def test_a_fresh_machine(write_config, tmp_path):
    found = findings("--config", write_config(), code=0)
    assert found["pvapy"]["level"] == "ok"
    assert found["state folder"]["found"] == f"{tmp_path / 'home'} (made when needed)"
    assert found["Tiled"]["advice"] == "start it with 'apsdm up'"
    assert not (tmp_path / "home").exists()  # looking changes nothing


def test_a_running_beamline(beamline):
    found = findings("--config", beamline.config_file, code=0)
    assert found["Tiled"]["found"].startswith(f"answers at {beamline.uri}")
    assert found["agent"]["level"] == "ok"


def test_a_folder_that_cannot_be_written():
    assert findings("--home", "/dev/null/x", code=1)["state folder"]["level"] == "fault"


def test_a_port_in_use(write_config):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found = findings("--config", write_config(server={"port": port}), code=1)["port"]
    assert found["found"] == f"{port} on 127.0.0.1: Address already in use"
    assert "set server.port" in found["advice"]


def test_a_detector_that_does_not_answer(write_config):
    found = findings("--config", write_config(detectors={"det": {"prefix": "nobody:"}}), code=1)["det"]
    assert found["found"] == "nobody: does not answer"
    assert "start its IOC" in found["advice"]


def test_a_person_sees_lines(write_config):
    done = apsdm("doctor", "--config", write_config())
    assert "ok     bluesky" in done.stdout
    assert "-> start it with 'apsdm up'" in done.stdout
