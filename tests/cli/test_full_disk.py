"""A state folder without room."""

import contextlib
import subprocess

import pytest

from tests.commands import apsdm, told


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_demo_whose_frames_do_not_fit(small_disk):
    done = apsdm("demo", "--frames", 4000, home=small_disk / "home", check=False)
    assert done.returncode == 1
    line = told(done)
    assert "No space left on device" in line
    assert str(small_disk) in line


def test_a_disk_that_is_full_before(small_disk):
    with (small_disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    done = apsdm("demo", home=small_disk / "home", check=False)
    assert done.returncode == 1
    assert "No space left on device" in told(done)
