"""The stand-in's process: it goes on where it was killed, and leaves no orphan."""

import os
import select
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from apsdm_bluesky.errors import ServiceError
from apsdm_bluesky.sim import GlobusProcess
from apsdm_bluesky.sim.globus import Behaviour
from tests.waiting import wait_for

from .globus_client import Copies, transfer_client


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A stand-in that may be killed."""
    with GlobusProcess(tmp_path / "globus") as globus:
        for name, value in globus.environment.items():
            monkeypatch.setenv(name, value)
        yield globus


def test_killed_in_mid_copy_it_goes_on(own):
    own.configure(hold_at_bytes=100_000)
    own.fault("stat", times=2, status=503)
    copies = Copies(own, transfer_client(own))
    path, content = copies.file(300_000)
    data = copies.data(path, "/a", verify_checksum=True)
    task_id = copies.client.submit_transfer(data)["task_id"]
    wait_for(lambda: copies.task(task_id)["bytes_transferred"] >= 100_000)
    url, client_id = own.url, own.client_id
    own.kill()
    assert 0 < copies.path("/a").stat().st_size < len(content)
    with pytest.raises(ServiceError, match="not started"):
        own.tasks()
    own.start()
    assert (own.url, own.client_id) == (url, client_id)
    assert copies.client.submit_transfer(data)["code"] == "Duplicate"
    assert copies.task(task_id)["status"] == "ACTIVE"
    own.configure(hold_at_bytes=None)
    copies.wait(task_id, status="SUCCEEDED")
    assert copies.path("/a").read_bytes() == content
    assert [task["task_id"] for task in own.tasks()] == [task_id]
    with pytest.raises(copies.client.error_class):
        copies.client.operation_stat(own.collections["tape"], "/a")
    assert len(own.faults_hit("stat")) == 1


def test_stopped_and_started_again(own):
    copies = Copies(own, transfer_client(own))
    path, _ = copies.file()
    task_id = copies.done(path, "/a")["task_id"]
    own.flip_bit("/a")
    own.stop()
    own.stop()
    own.start()
    assert copies.task(task_id)["status"] == "SUCCEEDED"
    assert copies.done(path, "/a", sync_level="checksum")["files_skipped"] == 1  # the stored checksum


def test_another_object_takes_up_the_folder(tmp_path):
    settings = {"local": tmp_path / "disk", "behaviour": Behaviour(active_limit=1)}
    with GlobusProcess(tmp_path / "globus", **settings) as first:
        assert first.root("local") == tmp_path / "disk"
        ids = first.collections
        with pytest.raises(ServiceError, match="runs already"):
            first.start()
        with pytest.raises(ServiceError, match=r"cannot start: .*lock"):
            GlobusProcess(tmp_path / "globus", **settings).start()
    port = int(first.url.rpartition(":")[2])
    with GlobusProcess(tmp_path / "globus", port=port, **settings) as second:
        assert (second.collections, second.url) == (ids, first.url)


def test_secrets_are_private(own, tmp_path):
    for name in ("identity.json", "globus.sqlite"):
        assert (tmp_path / "globus" / name).stat().st_mode & 0o077 == 0
    assert own.client_secret.encode() not in Path(f"/proc/{own.pid}/cmdline").read_bytes()


def test_control_route_needs_its_token(own):
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        reply = httpx.post(f"{own.url}/_control/tasks", json={}, headers=headers, trust_env=False)
        assert (reply.status_code, reply.json()["code"]) == (401, "AuthenticationFailed")


def test_wrong_control_calls_are_told_in_one_line(own):
    for call, match in (
        (lambda: own.configure(rate_bytes_s=-1), "configure was refused"),
        (lambda: own.flip_bit("/nothing"), "No such file"),
        (lambda: own.quota("moon", 1), "no collection 'moon'"),
    ):
        with pytest.raises(ServiceError, match=match) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_its_owner_loads_no_server():
    program = "import sys, apsdm_bluesky.sim.globus; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"starlette", "uvicorn", "jwt", "cryptography", "globus_sdk"} & set(loaded.stdout.split())


def test_killed_again_and_again_it_ends_with_the_right_files(own):
    own.configure(rate_bytes_s=3e6)
    copies = Copies(own, transfer_client(own))
    files = [copies.file(300_000) for _ in range(4)]
    tasks = [copies.submit(path, path, verify_checksum=True) for path, _ in files]
    for share in (0.2, 0.5, 0.8):
        wait_for(lambda share=share: sum(t["bytes_transferred"] for t in own.tasks()) >= share * 1_200_000)
        own.kill()
        own.start()
    for task_id in tasks:
        copies.wait(task_id, status="SUCCEEDED")
    assert [copies.path(path).read_bytes() == content for path, content in files] == [True] * 4
    assert [task["task_id"] for task in own.tasks()] == tasks


PARENT = """
import pathlib, sys
from apsdm_bluesky.sim import GlobusProcess
globus = GlobusProcess(pathlib.Path(sys.argv[1]))
globus.start()
print(globus.pid, flush=True)
sys.stdin.read()
"""


def test_it_dies_with_its_parent(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "globus")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        assert select.select([child], [], [], 30)[0]
        os.close(child)
