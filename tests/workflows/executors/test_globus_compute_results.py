"""Results that come from a remote whose folders are not seen here."""

import json

import pytest

from apsdm_bluesky.errors import ConfigError
from apsdm_bluesky.workflows.executors import Blame, GlobusCompute, Running, Waiting
from tests.globus import mover
from tests.waiting import wait_for
from tests.workflows.executors.compute import config_of, end_of, executor, looked, shell


@pytest.fixture
def there(globus, tmp_path):
    """The remote's folder, which is seen through the collection only."""
    folder = globus.root("tape") / tmp_path.name
    folder.mkdir()
    return folder


@pytest.fixture
def compute(globus, tmp_path, there):
    transfer = mover(globus, tmp_path)
    found = executor(globus, tmp_path, transfer=transfer, root=str(there))
    yield found
    found.close()
    transfer.close()


def test_files_come(compute, tmp_path):
    task = shell(tmp_path, "echo out; mkdir -p d/e; echo x > d/e/f; : > empty; : > .hidden")
    compute.start(task)
    end = end_of(compute, task)
    assert (end.status, end.blame, end.reason) == (0, None, "")
    assert task.stdout.read_text() == "out\n"
    assert task.stderr.read_text() == ""
    assert (task.work / "d/e/f").read_text() == "x\n"
    assert (task.work / "empty").read_bytes() == b""
    assert not (task.work / ".hidden").exists()
    assert not (task.folder / ".fetch").exists()


def test_last_words_come_with_a_failure(compute, tmp_path):
    task = shell(tmp_path, "echo no beam >&2; exit 3")
    compute.start(task)
    end = end_of(compute, task)
    assert (end.status, end.blame, end.reason) == (3, Blame.COMMAND, "no beam (exit status 3)")
    assert list(task.work.iterdir()) == []


def test_what_was_spoilt_on_the_way_is_fetched_again(globus, compute, tmp_path):
    globus.fault("copy", after=1, corrupt=True)
    task = shell(tmp_path, "echo a long line of output")
    compute.start(task)
    assert end_of(compute, task).status == 0
    assert len(globus.faults_hit("copy")) == 1
    assert task.stdout.read_text() == "a long line of output\n"


def test_what_compute_has_forgotten_files_tell(globus, compute, tmp_path, there):
    task = shell(tmp_path, "echo out")
    compute.start(task)
    wait_for((there / task.id / "ended.json").exists)
    globus.forget_calls()
    assert end_of(compute, task).status == 0
    assert task.stdout.read_text() == "out\n"


def test_another_process_goes_on_fetching(globus, compute, tmp_path, there):
    task = shell(tmp_path, "echo out")
    compute.start(task)
    globus.pause("tape")
    wait_for(lambda: "an administrator paused it" in looked(compute, task).reason)
    assert isinstance(looked(compute, task), Running)
    compute.close()
    transfer = mover(globus, tmp_path)
    other = executor(globus, tmp_path, transfer=transfer, root=str(there))
    globus.resume("tape")
    assert end_of(other, task).status == 0
    assert task.stdout.read_text() == "out\n"
    other.close()
    transfer.close()


@pytest.mark.parametrize("name", ["work/../../../outside", "/etc/outside", "report.json", "work/.hidden"])
def test_names_that_lead_elsewhere_are_refused(globus, compute, tmp_path, there, name):
    globus.compute_endpoint(online=False)
    task = shell(tmp_path, "true")
    compute.start(task)
    assert isinstance(looked(compute, task), Waiting)
    told = {"status": 0, "started": 1.0, "ended": 2.0, "host": "x", "pid": 1, "cpu_s": 0.0, "memory": 1}
    told |= {"lost": False, "cut": None, "limit": None, "said": ""}
    home = there / task.id
    home.mkdir()
    listing = told | {"files": [{"name": name, "size": 0, "sha256": "0" * 64}]}
    (home / "ended.json").write_text(json.dumps(listing))
    (home / "lock").write_text("{}")
    globus.compute_endpoint()
    end = end_of(compute, task)
    assert (end.status, end.blame) == (None, Blame.NETWORK)
    assert "ended.json" in end.reason
    assert not list(tmp_path.rglob("outside"))


def test_a_root_needs_a_transfer(globus, tmp_path):
    with pytest.raises(ConfigError, match="needs a transfer"):
        executor(globus, tmp_path, root="/there", collection=globus.collections["tape"])
    transfer = mover(globus, tmp_path)
    with pytest.raises(ConfigError, match="a transfer a 'root'"):
        GlobusCompute(config_of(globus, tmp_path), folder=tmp_path, transfer=transfer)
    transfer.close()


def test_root_and_collection_go_together(globus, tmp_path):
    with pytest.raises(ValueError, match="go together"):
        config_of(globus, tmp_path, root="/there")
    with pytest.raises(ValueError, match="has a part"):
        config_of(globus, tmp_path, root="/there/../x", collection=globus.collections["tape"])
