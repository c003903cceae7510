"""The server in a process of its own: who may start it, who may read what, how it ends."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
import zarr
from tiled.structures.array import ArrayStructure
from tiled.structures.core import StructureFamily
from tiled.structures.data_source import Asset, DataSource, Management
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as subscribe

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ConfigError, ServiceError, StorageError
from apsdm_bluesky.tiled_config import api_key, connect, server_process, server_settings
from tests.servers import RunningServer
from tests.waiting import wait_for

# What anybody may see: that the server is there, its interface, and how to log in.
OPEN = {
    "/healthz",
    "/",
    "/api/v1/",
    "/ui/{path}",
    "/tiled-ui-settings",
    "/favicon.ico",
    "/openapi.json",
    "/docs",
    # They ask for a password, or for a token in the body.
    "/api/v1/auth/provider/password_file/token",
    "/api/v1/auth/session/refresh",
    "/api/v1/auth/session/revoke",
    # Nobody; see test_people.
    "/api/v1/auth/whoami",
}


PARAMETERS = {
    "id": 1,
    "block": "0,0",
    "number": 1,
    "partition": 0,
    "offset": "0",
    "shape": "1",
    "expected_shape": "1",
}


def test_the_settings_are_pure_and_hold_no_secret(tmp_path):
    config = BeamlineConfig(home=tmp_path / "home")
    settings = server_settings(config)
    assert not (tmp_path / "home").exists()
    assert settings["expose_raw_assets"] is False
    assert settings["authentication"]["allow_anonymous_access"] is False
    assert settings["catalog"]["readable_storage"] == [
        str(config.folders.raw),
        f"file://localhost{config.folders.data}",
    ]


def test_anonymous_requests_are_refused_everywhere(tiled_server, zarr_folder):
    with tiled_server.http(anonymous=True) as http:
        paths = http.get("/openapi.json").json()["paths"]
        assert len(paths) > 20
        answers = {}
        for template, methods in paths.items():
            # A node that exists: without a key nobody may learn even that.
            path = (
                template.replace("{path}", "asset-test")
                .replace("{block}", "0/0")
                .replace("{webhook_id}", "1")
            )
            for method in methods:
                if template not in OPEN:
                    answer = http.request(method, path, params=PARAMETERS)
                    answers[method, template] = answer.status_code
    assert {
        code for (_, path), code in answers.items() if not path.startswith(("/zarr", "/api/graphql"))
    } == {401}
    assert {code for (_, path), code in answers.items() if path.startswith(("/zarr", "/api/graphql"))} == {
        404
    }


@pytest.mark.parametrize("anonymous", [False, True])
@pytest.mark.parametrize(
    "path", ["v2/asset-test", "v2/asset-test/.zarray", "v3/asset-test/zarr.json", "v3/asset-test/c/0/0"]
)
def test_the_zarr_interface_that_asks_no_key_is_not_served(tiled_server, zarr_folder, path, anonymous):
    with tiled_server.http(anonymous=anonymous) as http:
        assert http.get(f"/zarr/{path}", params={"block": "0,0"}).status_code == 404


def test_the_entity_graph_is_not_served(tiled_server):
    with tiled_server.http() as http:
        assert http.get("/api/graphql").status_code == 404
        assert http.post("/api/graphql/", json={"query": "{__typename}"}).status_code == 404


def test_a_live_subscription_needs_the_key(tiled_server):
    uri = f"{tiled_server.uri.replace('http://', 'ws://')}/api/v1/stream/single/?envelope_format=json"
    with subscribe(uri) as stream:  # Tiled waits for a first message that brings the key
        stream.send(json.dumps({"type": "auth", "api_key": "wrong"}))
        with pytest.raises(ConnectionClosed, match="4003"):
            stream.recv(timeout=10)
    wrong = {"Authorization": "Apikey wrong"}
    with pytest.raises(InvalidStatus, match="HTTP 40"), subscribe(uri, additional_headers=wrong):
        pass


def test_the_graph_is_not_served_over_a_websocket_either(tiled_server):
    uri = f"{tiled_server.uri.replace('http://', 'ws://')}/api/graphql"
    with pytest.raises(InvalidStatus, match="HTTP 403"), subscribe(uri):
        pass


@pytest.mark.parametrize("address", ["{raw}/../x", "{raw}/%2e%2e/x", "{raw}/a/../../x", "{raw}/.."])
def test_an_address_that_climbs_is_not_updated_either(tiled_server, zarr_folder, address):
    uri = "file://localhost" + address.format(raw=tiled_server.config.folders.raw)
    with tiled_server.http() as http:
        link = "/api/v1/metadata/asset-test?include_data_sources=true"
        (source,) = http.get(link).json()["data"]["attributes"]["data_sources"]
        source["assets"][0]["data_uri"] = uri
        answer = http.put("/api/v1/data_source/asset-test", json={"data_source": source})
    assert answer.status_code == 403
    assert "'..' is not registered" in answer.json()["detail"]


def test_anonymous_reading_is_refused_with_401(tiled_server):
    with tiled_server.http(anonymous=True) as http:
        for path in (
            "metadata/",
            "search/",
            "array/full/x",
            "table/full/x",
            "container/full/",
            "asset/bytes/x?id=1",
        ):
            assert http.get(f"/api/v1/{path}").status_code == 401, path
        assert http.post("/api/v1/metadata/", json={}).status_code == 401
        assert http.get("/api/v1/metadata/", headers={"Authorization": "Apikey wrong"}).status_code == 401
        assert http.get("/healthz").status_code == 200


@pytest.fixture
def zarr_folder(tiled_server):
    """A registered Zarr array in the raw folder, and a file beside it that nobody has registered."""
    folder = tiled_server.config.folders.raw / "asset-test"
    if not folder.exists():
        array = zarr.create_array(folder / "frames.zarr", shape=(2, 3), chunks=(1, 3), dtype="u2")
        array[:] = np.arange(6, dtype="u2").reshape(2, 3)
        (folder / "secret.txt").write_text("SECRET")
        (tiled_server.config.folders.root / "outside.txt").write_text("SECRET")
        with tiled_server.client() as root:
            register(root, "asset-test", folder / "frames.zarr", "application/x-zarr", is_directory=True)
    return folder


def register(root, key, path, mimetype, *, is_directory):
    source = DataSource(
        structure_family=StructureFamily.array,
        structure=ArrayStructure.from_array(np.zeros((2, 3), "u2")),
        mimetype=mimetype,
        management=Management.external,
        assets=[Asset(data_uri=f"file://localhost{path}", is_directory=is_directory, parameter="data_uri")],
    )
    return root.new(structure_family="array", data_sources=[source], key=key, metadata={}, specs=[])


@pytest.mark.parametrize(
    "relative", ["../secret.txt", "../../../outside.txt", "..%2Fsecret.txt", "zarr.json", None]
)
@pytest.mark.parametrize("anonymous", [False, True])
def test_no_file_is_served_through_an_asset(tiled_server, zarr_folder, relative, anonymous):
    with tiled_server.http() as http:
        link = "/api/v1/metadata/asset-test?include_data_sources=true"
        (source,) = http.get(link).json()["data"]["attributes"]["data_sources"]
        (asset,) = source["assets"]
    query = f"id={asset['id']}" + (f"&relative_path={relative}" if relative else "")
    with tiled_server.http(anonymous=anonymous) as http:
        answer = http.get(f"/api/v1/asset/bytes/asset-test?{query}")
        manifest = http.get(f"/api/v1/asset/manifest/asset-test?id={asset['id']}")
    assert answer.status_code == manifest.status_code == (401 if anonymous else 403)
    assert "SECRET" not in answer.text


def test_the_registered_array_itself_is_read(tiled_server, zarr_folder):
    with tiled_server.client() as root:
        assert root["asset-test"].read().tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("place", ["outside", "dots"])
def test_an_array_outside_the_raw_folder_is_not_read(tiled_server, tmp_path, place):
    np.save(tmp_path / "outside.npy", np.full((2, 3), 7, "u2"))
    raw = tiled_server.config.folders.raw
    path = tmp_path / "outside.npy"
    if place == "dots":
        path = raw / os.path.relpath(path, raw)
    refused = (
        pytest.raises(httpx.HTTPStatusError, match=r"\.\.") if place == "dots" else contextlib.nullcontext()
    )
    with tiled_server.client() as root, refused:
        register(root, f"escape-{place}", path, "application/x-npy", is_directory=False)
    with tiled_server.http() as http:
        answer = http.get(
            f"/api/v1/array/full/escape-{place}", headers={"Accept": "application/octet-stream"}
        )
    assert answer.status_code >= 400
    assert np.full((2, 3), 7, "u2").tobytes() not in answer.content


def test_the_key_is_in_no_log_and_on_no_command_line(tiled_server):
    with tiled_server.http() as http:
        assert http.get("/api/v1/metadata/", params={"api_key": tiled_server.api_key}).status_code == 200
    assert tiled_server.api_key not in tiled_server.process.log_file.read_text()
    assert tiled_server.api_key not in Path(f"/proc/{tiled_server.process.process.pid}/cmdline").read_text()
    assert tiled_server.api_key not in Path(f"/proc/{tiled_server.process.process.pid}/environ").read_text()


def test_the_ready_file_tells_address_and_process(tiled_server):
    ready = json.loads((tiled_server.config.folders.catalog / "server.json").read_text())
    ports = ready.pop("dm_ports")
    assert ready == {"uri": tiled_server.uri, "pid": tiled_server.process.process.pid}
    assert len(ports) == len(tiled_server.config.server.dm_ports)


def test_connecting_with_a_wrong_key_or_to_nothing_is_one_clear_line(tiled_server):
    with pytest.raises(ServiceError, match="answers 401; check the API key"):
        connect(tiled_server.uri, "wrong")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(
        ServiceError, match=f"no Tiled server answers at http://127.0.0.1:{port}.*apsdm serve"
    ):
        connect(f"http://127.0.0.1:{port}", "key")
    with pytest.raises(ServiceError, match="no Tiled server answers"):
        connect("nonsense", "key")


def test_a_second_server_on_the_folder_is_refused(tiled_server):
    with pytest.raises(ServiceError, match="a server runs here already"):
        server_process(tiled_server.config)


def test_a_port_in_use_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = BeamlineConfig(home=tmp_path, server={"port": port})
        with pytest.raises(ServiceError, match=f"port {port} on 127.0.0.1.*in use.*server.port") as caught:
            server_process(config)
    assert "\n" not in str(caught.value)


def test_a_key_others_can_read_stops_the_server(tmp_path):
    config = BeamlineConfig(home=tmp_path, server={"port": 0})
    api_key(config.folders)
    (config.folders.catalog / "api_key").chmod(0o644)
    with pytest.raises(ServiceError, match="chmod 600"):
        server_process(config)
    with pytest.raises(ConfigError, match="chmod 600"):
        api_key(config.folders)


def test_a_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "catalog").write_text("")
    with pytest.raises(ServiceError, match="catalog"):
        server_process(BeamlineConfig(home=tmp_path, server={"port": 0}))
    (tmp_path / "logs").rename(tmp_path / "old")
    (tmp_path / "logs").write_text("")
    with pytest.raises(StorageError, match=r"tiled\.log"):
        server_process(BeamlineConfig(home=tmp_path, server={"port": 0}))


PARENT = """
import sys
from pathlib import Path
from tests.servers import RunningServer
server = RunningServer(Path(sys.argv[1]))
print(server.process.process.pid, server.uri, flush=True)
sys.stdin.read()
"""


def test_the_server_ends_with_its_parent_and_withdraws_its_ready_file(tmp_path):
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent.stdin, parent.stdout:
        pid, uri = parent.stdout.readline().split()
        ready_file = tmp_path / "catalog" / "server.json"
        ready = json.loads(ready_file.read_text())
        assert (ready["uri"], ready["pid"]) == (uri, int(pid))
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    wait_for(lambda: not ready_file.exists(), 30, "the ready file's removal")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{uri}/healthz", trust_env=False)


def test_what_is_stored_outlives_a_kill(tmp_path):
    server = RunningServer(tmp_path)
    with contextlib.closing(server):
        with server.client() as root:
            root.create_container("kept", metadata={"a": 1})
            root["kept"].write_array(np.arange(5), key="numbers")
        server.kill()
        server.restart()
        with server.client() as root:
            assert root["kept"].metadata["a"] == 1
            assert root["kept"]["numbers"].read().tolist() == [0, 1, 2, 3, 4]
