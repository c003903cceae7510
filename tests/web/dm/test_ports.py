"""The ports of DM's four services: one server, which serves there nothing else."""

import json

import httpx
import pytest

from .clients import dmax, told


@pytest.fixture(scope="module")
def uris(tiled_server):
    ready = json.loads((tiled_server.config.folders.catalog / "server.json").read_text())
    assert len(ready["dm_ports"]) == 4
    return [f"http://127.0.0.1:{port}" for port in ready["dm_ports"]]


def test_each_service_has_its_port(tiled_server, uris, kind, gel):
    with dmax(tiled_server, "chief", kind, uris=uris) as client:
        assert len(client.esafs()) == 2
        assert client.experiment(name=gel.name)
        assert isinstance(client.workflows(), list)
    with dmax(tiled_server, "chief", kind, uris=[f"{uri}/dm" for uri in uris]) as client:
        assert len(client.proposals()) == 3


@pytest.mark.parametrize("path", ["/", "/api/v1/", "/login", "/ui/", "/jobs", "/dmx", "//dm/login"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_else_is_served_there(uris, path, method):
    with httpx.Client(trust_env=False) as http:
        answer = http.request(method, f"{uris[1]}{path}")
    assert "below /dm/" in told(answer, 404)
    assert "set-cookie" not in answer.headers


def test_who_is_not_logged_in_learns_nothing_there(uris):
    with httpx.Client(trust_env=False) as http:
        told(http.get(f"{uris[0]}/dm/esaf"), 401)
