"""Whatever a person gives that cannot be used: one line that says what, where and what to do."""

import os
import subprocess
import zipfile

import h5py
import numpy as np
import pytest

from tests.commands import APSDM, apsdm, told


def npy(folder, array, name="frames.npy"):
    np.save(folder / name, array)
    return folder / name


def cut(path, name, share=2):
    whole = path.read_bytes()
    (path.parent / name).write_bytes(whole[: len(whole) // share])
    return path.parent / name


def zipped(folder):
    path = npy(folder, np.ones((20, 16, 16), np.uint16))
    with zipfile.ZipFile(folder / "frames.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, path.name)
    return folder / "frames.zip"


def empty(folder, name):
    (folder / name).touch()
    return folder / name


def folder_named(folder):
    (folder / "frames.npy").mkdir()
    return folder / "frames.npy"


FILES = {
    "missing": (lambda folder: folder / "frames.npy", "no such file"),
    "a folder": (folder_named, "is a folder"),
    "unknown format": (lambda folder: empty(folder, "frames.tiff"), "unknown kind of file"),
    "empty": (lambda folder: empty(folder, "frames.npy"), "cannot be read"),
    "truncated": (lambda folder: cut(npy(folder, np.ones((9, 16, 16), "u2")), "cut.npy"), "cannot be read"),
    "truncated zip": (lambda folder: cut(zipped(folder), "cut.zip"), "cannot be read"),
    "float frames": (lambda folder: npy(folder, np.ones((9, 16, 16))), "holds float64"),
    "tiny frames": (lambda folder: npy(folder, np.ones((9, 2, 2), "u2")), "2 x 2 pixels"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_holds_no_frames(tmp_path, kind):
    make, reason = FILES[kind]
    path = make(tmp_path)
    done = apsdm("replay", path, home=tmp_path / "home", check=False)
    assert done.returncode == 1
    line = told(done)
    assert reason in line
    assert str(path) in line
    assert done.stdout == ""
    assert not (tmp_path / "home").exists()  # nothing was started for it


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path, frames_file):
    path = tmp_path / "frames.npy"
    path.touch(mode=0)
    assert "Permission denied" in told(apsdm("replay", path, home=tmp_path / "home", check=False))


@pytest.mark.parametrize("center", ["abc", "1,2,3", "nan,3", ""])
def test_a_centre_that_is_no_point(tmp_path, frames_file, center):
    done = apsdm("replay", frames_file, "--center", center, home=tmp_path / "home", check=False)
    assert done.returncode == 1
    assert told(done).startswith(f"--center {center!r}: give two numbers")


def test_a_qmap_of_another_shape(tmp_path, frames_file):
    path = tmp_path / "qmap.h5"
    write_qmap(path, (64, 48))
    done = apsdm("replay", frames_file, "--qmap", path, home=tmp_path / "home", check=False)
    assert done.returncode == 1
    line = told(done)
    assert str(path) in line
    assert "the q-map is (64, 48), the frames are (48, 64)" in line


def test_a_qmap_that_is_no_hdf5(tmp_path, frames_file):
    path = tmp_path / "qmap.h5"
    path.write_text("not HDF5")
    done = apsdm("replay", frames_file, "--qmap", path, home=tmp_path / "home", check=False)
    assert done.returncode == 1
    assert f"{path}: cannot be read as HDF5" in told(done)


def write_qmap(path, shape):
    """As pySimpleMask does, all pixels in one bin."""
    with h5py.File(path, "w") as file:
        group = file.create_group("qmap")
        group["mask"] = np.ones(shape, np.uint8)
        for kind in ("dynamic", "static"):
            group[f"{kind}_roi_map"] = np.ones(shape, np.int32)
            group[f"{kind}_num_pts"] = np.array([1, 1])
            group[f"{kind}_index_mapping"] = np.array([0])
            group[f"{kind}_v_list_dim0"] = np.array([1.0])
        group["beam_center_x"], group["beam_center_y"] = 3.0, 4.0
        group["map_units"] = np.array([b"1/angstrom", b"deg"])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["frobnicate"], "No such command 'frobnicate'; see 'apsdm --help'"),
        (["demo", "--bogus"], "No such option: --bogus; see 'apsdm demo --help'"),
        (["demo", "--frames", "many"], "--frames"),
        (["demo", "--frames", "2"], "--frames"),
        (["demo", "--seed", "-1"], "--seed"),
        (["replay"], "see 'apsdm replay --help'"),
        (["replay", "x.npy", "--rings", "0"], "--rings"),
        (["replay", "x.npy", "--rate", "0"], "--rate"),
    ],
)
def test_wrong_usage_is_one_line_and_2(arguments, reason):
    done = apsdm(*arguments, check=False)
    assert done.returncode == 2
    assert reason in told(done)
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [("doctor",), ("up",), ("shell",), ("agent", "--status"), ("serve",)])
def test_a_key_that_does_not_exist(write_config, arguments):
    path = write_config(reduction={"qmap": {"centre": [1, 2]}})
    done = apsdm(*arguments, "--config", path, check=False)
    assert done.returncode == 1
    assert told(done) == f"{path}: reduction.qmap.centre: unknown key"


@pytest.mark.parametrize("home", ["/dev/null/home", "/proc/home", "{file}/home"])
def test_a_state_folder_that_cannot_be_made(frames_file, home):
    refuses("demo", home.format(file=frames_file))


@pytest.mark.parametrize("command", ["up", "serve", "agent", "shell"])
def test_every_command_refuses_a_folder_that_cannot_be_made(command):
    refuses(command, "/dev/null/home")


def refuses(command, home):
    done = apsdm(command, home=home, check=False)
    assert done.returncode == 1
    assert home in told(done)


def test_a_state_folder_without_permission(tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    if os.access(home, os.W_OK):
        pytest.skip("root may write everywhere")
    done = apsdm("demo", home=home, check=False)
    assert done.returncode == 1
    assert "Permission denied" in told(done)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_has_left(stream):
    """`apsdm ... | head -1`"""
    read, write = os.pipe()
    os.close(read)
    other = {"stdout": "stderr", "stderr": "stdout"}[stream]
    arguments = ["--help"] if stream == "stdout" else ["frobnicate"]
    done = subprocess.run(
        [*APSDM, *arguments], check=False, timeout=60, **{stream: write, other: subprocess.PIPE}
    )
    os.close(write)
    assert getattr(done, other) == b""
    assert done.returncode in {1, 2}
