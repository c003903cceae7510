"""Full disks and folders without permission: one clear error, and no half line."""

import os
import subprocess
import sys

import pytest

from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.spool import Spool
from tests.spool.runs import counting_run

# The limit on the size of a file gives the same short write and error as a full disk, and needs no mount.
FULL = """
import resource, signal, sys
from pathlib import Path
from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.spool import Spool
from tests.spool.runs import counting_run

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
session = Spool(Path(sys.argv[1])).open_session()
documents = counting_run(1000, size=1000)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
written = 0
try:
    for name, doc in documents:
        session.write(name, doc)
        written += 1
except StorageError as error:
    print(written)
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
(run,) = session.runs()
assert run.path.read_bytes().endswith(b"\\n")
assert len(list(run.documents())) == written
session.write(*documents[-1])
assert run.stop is not None
"""


def test_a_full_disk_leaves_whole_lines_and_the_run_can_go_on(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], check=True, capture_output=True, text=True, timeout=60
    )
    written, message = result.stdout.splitlines()
    assert int(written) > 2
    assert "cannot store a event document" in message
    assert "File too large" in message


def write(session, documents):
    for name, doc in documents:
        session.write(name, doc)


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_really_full_disk(small_disk):
    session = Spool(small_disk).open_session()
    documents = iter(counting_run(1000, size=1000))
    with pytest.raises(StorageError, match=r"cannot store .*No space left on device.*free space"):
        write(session, documents)
    (run,) = session.runs()
    written = 1002 - len(list(documents))  # the one that failed is taken from the iterator, too
    assert len(list(run.documents())) == written > 2
    with pytest.raises(StorageError, match="No space left"):
        session.write("start", {"uid": "another", "time": 1.0, "text": "x" * 10_000})
    assert [each.uid for each in session.runs()] == [run.uid]
    session.close()


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "spool").write_text("")
    with pytest.raises(StorageError, match="cannot create"):
        Spool(tmp_path / "spool").open_session()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        Spool(tmp_path / "spool").open_session()


def test_a_folder_that_vanished(tmp_path):
    session = Spool(tmp_path).open_session()
    (session.path / "lock").unlink()
    session.path.rmdir()
    with pytest.raises(StorageError, match="No such file"):
        session.write("start", {"uid": "a", "time": 1.0})
    session.close()
