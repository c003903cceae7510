"""Frames from files: what is read, and what is refused with one clear line."""

import io
import os
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.formats import read_frames

FRAMES = np.arange(2 * 5 * 7, dtype=np.uint16).reshape(2, 5, 7)


def npy(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def forged(shape, body):
    """A .npy whose header says any shape."""
    header = f"{{'descr': '<u2', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


def zipped(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def refused(path, *words):
    with pytest.raises(FormatError) as caught:
        read_frames(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int8", "int16", "int32", ">u2", ">i4"])
def test_counts_of_any_width_and_byte_order(tmp_path, dtype):
    np.save(tmp_path / "f.npy", FRAMES.astype(dtype))
    frames = read_frames(tmp_path / "f.npy")
    assert frames.dtype == np.dtype(f"u{np.dtype(dtype).itemsize}")
    assert np.array_equal(frames, FRAMES)


def test_npy_is_mapped_read_only(tmp_path):
    np.save(tmp_path / "f.npy", FRAMES)
    frames = read_frames(tmp_path / "f.npy")
    assert isinstance(frames, np.memmap)
    assert not frames.flags.writeable


def test_one_image_is_one_frame(tmp_path):
    np.save(tmp_path / "f.npy", FRAMES[0])
    assert np.array_equal(read_frames(tmp_path / "f.npy"), FRAMES[:1])


@pytest.mark.parametrize("kind", ["npy", "zip", "npz"])
def test_fortran_order(tmp_path, kind):
    path = tmp_path / f"f.{kind}"
    content = npy(np.asfortranarray(FRAMES))
    if kind == "npy":
        path.write_bytes(content)
    else:
        zipped(path, {"a.npy": content})
    assert np.array_equal(read_frames(path), FRAMES)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_zip_with_one_array(tmp_path, version):
    members = {"readme.txt": "frames", "folder/f.npy": npy(FRAMES, version=version)}
    frames = read_frames(zipped(tmp_path / "F.NPY.ZIP", members))
    assert np.array_equal(frames, FRAMES)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_with_one_stack_among_other_arrays(tmp_path, save):
    save(tmp_path / "f.npz", mask=FRAMES[0], frames=FRAMES, delays=np.arange(3.0))
    assert np.array_equal(read_frames(tmp_path / "f.npz"), FRAMES)


def test_several_stacks_ask_for_a_choice(tmp_path):
    np.savez(tmp_path / "f.npz", a=FRAMES, b=FRAMES)
    refused(tmp_path / "f.npz", "holds a.npy (2, 5, 7), b.npy (2, 5, 7)", "save the frames as one .npy")


def test_zip_without_an_array(tmp_path):
    refused(zipped(tmp_path / "f.zip", {"f.txt": "no"}), "holds none")


def test_unknown_kind_lists_the_known_ones(tmp_path):
    refused(tmp_path / "f.tiff", ".npy, .npz, .zip")


@pytest.mark.parametrize("suffix", ["npy", "npz", "zip"])
def test_missing_folder_empty_and_garbage(tmp_path, suffix):
    refused(tmp_path / f"missing.{suffix}", "no such file")
    folder = tmp_path / f"folder.{suffix}"
    folder.mkdir()
    refused(folder, "is a folder")
    pipe = tmp_path / f"pipe.{suffix}"
    os.mkfifo(pipe)
    refused(pipe, "no such file")
    for content in (b"", b"\x93NUMPY", b"PK\x03\x04", os.urandom(500)):
        path = tmp_path / f"bad.{suffix}"
        path.write_bytes(content)
        refused(path, "cannot be read")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable(tmp_path):
    np.save(tmp_path / "f.npy", FRAMES)
    (tmp_path / "f.npy").chmod(0)
    refused(tmp_path / "f.npy", "cannot be read")


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (FRAMES.astype(float), "float64"),
        (FRAMES.astype(complex), "complex128"),
        (FRAMES.astype(np.int64), "int64"),
        (FRAMES > 3, "bool"),
        (FRAMES.astype("M8[s]"), "datetime64"),
        (FRAMES.astype("S3"), "|S3"),
        (FRAMES.view([("a", "u1"), ("b", "u1")]), "save counts"),
        (-FRAMES.astype(np.int32), "negative"),
        (FRAMES[None], "(1, 2, 5, 7)"),
        (FRAMES[0, 0], "(7,)"),
        (FRAMES[:0], "(0, 5, 7)"),
        (np.uint16(3), "()"),
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "zip"])
def test_what_is_no_counts(tmp_path, suffix, array, word):
    path = tmp_path / f"f.{suffix}"
    if suffix == "npy":
        np.save(path, array)
    else:
        zipped(path, {"a.npy": npy(np.asanyarray(array))})
    refused(path, word)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_pickles_are_not_opened(tmp_path, suffix):
    """The pickle would create a file."""

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    trap = np.array([[[Trap()]]], dtype=object)
    path = tmp_path / f"f.{suffix}"
    if suffix == "npy":
        np.save(path, trap, allow_pickle=True)
    else:
        np.savez(path, a=trap)
    assert "bject" in refused(path)
    assert not (tmp_path / "sprung").exists()


def test_truncated_npy(tmp_path):
    content = npy(FRAMES)
    for size in range(0, len(content), 13):
        (tmp_path / "f.npy").write_bytes(content[:size])
        refused(tmp_path / "f.npy", "cannot be read")


def test_truncated_and_damaged_zip(tmp_path):
    content = zipped(tmp_path / "f.zip", {"f.npy": npy(FRAMES)}, zipfile.ZIP_STORED).read_bytes()
    for size in range(0, len(content), 37):
        (tmp_path / "f.zip").write_bytes(content[:size])
        refused(tmp_path / "f.zip")
    damaged = bytearray(content)
    damaged[200] ^= 0xFF
    (tmp_path / "f.zip").write_bytes(damaged)
    refused(tmp_path / "f.zip", "CRC")


def test_array_in_zip_shorter_or_longer_than_it_says(tmp_path):
    content = npy(FRAMES)
    refused(zipped(tmp_path / "short.zip", {"f.npy": content[:-2]}), "not as long as its header says")
    refused(zipped(tmp_path / "long.zip", {"f.npy": content + b"\0\0"}), "not as long as its header says")


def test_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    """A header of 10^15 bytes, and a member that says 16 MB and holds less."""
    bomb = forged("(9999999999999, 8, 8)", bytes(1 << 24))
    refused(zipped(tmp_path / "f.zip", {"f.npy": bomb}), "GB unpacked", "unpack it")
    short = forged("(131072, 8, 8)", b"")
    refused(zipped(tmp_path / "f.zip", {"f.npy": short}), "not as long")


@pytest.mark.parametrize(
    "shape", ["(-1, 8, 8)", "(1.5, 8)", f"({2**99}, 8, 8)", "'(0, 8, 8)", "(4, 4, 99)", "[3]"]
)
@pytest.mark.parametrize("suffix", ["npy", "zip"])
def test_absurd_header(tmp_path, shape, suffix):
    content = forged(shape, bytes(1000))
    path = tmp_path / f"f.{suffix}"
    if suffix == "npy":
        path.write_bytes(content)
    else:
        zipped(path, {"f.npy": content})
    refused(path)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_damage_escapes_as_another_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damage")
    suffix = data.draw(st.sampled_from(["npy", "zip"]))
    content = npy(FRAMES)
    path = folder / f"f.{suffix}"
    content = content if suffix == "npy" else zipped(path, {"f.npy": content}).read_bytes()
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    with suppress(FormatError):
        assert read_frames(path).ndim == 3
