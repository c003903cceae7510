"""Files that are whole, and files that are not, as their writers leave them."""

import io
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from apsdm_bluesky.daq._content import Rule, rule_for, why_not_whole
from apsdm_bluesky.daq._content_hdf5 import why_not_hdf5
from apsdm_bluesky.daq._content_reader import ContentReader, ShortError, SpentError
from apsdm_bluesky.daq._content_tiff import why_not_tiff
from apsdm_bluesky.daq._source import Source
from tests.children import end_with_parent
from tests.daq.trees import write

LIBVERS = ("earliest", "v108", "v110", "latest")


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    with Source(tmp_path) as source:
        yield source


class Writer:
    """A process that writes an HDF5 file."""

    def __init__(self, path: Path, libver: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("hdf5_writer.py")), str(path), libver],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=end_with_parent,
        )

    def __call__(self, *steps: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        for step in steps:
            self.process.stdin.write(f"{step}\n")
            self.process.stdin.flush()
            assert self.process.stdout.readline() == "done\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def writer(tmp_path: Path, libver: str) -> Iterator[Writer]:
    with ExitStack() as stack:
        writer = Writer(tmp_path / "x.h5", libver)
        stack.callback(writer.kill)
        yield writer


def why(source: Source, name: str, rule: Rule) -> str | None:
    """As the copier asks: of the file that it has open, by its size then."""
    with os.fdopen(source.open(name), "rb") as file:
        return why_not_whole(file.fileno(), os.fstat(file.fileno()).st_size, rule)


@pytest.mark.parametrize("libver", LIBVERS)
def test_an_hdf5_file_is_whole_when_its_writer_has_closed_it(source: Source, writer: Writer) -> None:
    writer("create")
    assert why(source, "x.h5", "hdf5") is not None
    writer("frames", "frames")
    assert why(source, "x.h5", "hdf5") is not None
    writer("close")
    assert why(source, "x.h5", "hdf5") is None


@pytest.mark.parametrize("libver", ["v108", "v110", "latest"])
def test_an_hdf5_file_that_was_flushed_and_is_open_still_is_not_whole(source: Source, writer: Writer) -> None:
    writer("create", "frames", "flush")
    assert why(source, "x.h5", "hdf5") == "it is open for writing, or was not closed"
    writer("close")
    assert why(source, "x.h5", "hdf5") is None
    writer("reopen")
    assert why(source, "x.h5", "hdf5") == "it is open for writing, or was not closed"
    writer("frames", "close")
    assert why(source, "x.h5", "hdf5") is None


@pytest.mark.parametrize("libver", ["v110", "latest"])
def test_an_hdf5_file_that_is_written_while_others_read_is_not_whole(source: Source, writer: Writer) -> None:
    writer("create", "swmr", "frames", "flush")
    assert why(source, "x.h5", "hdf5") == "it is open for writing (SWMR), or was not closed"
    writer.kill()
    assert why(source, "x.h5", "hdf5") == "it is open for writing (SWMR), or was not closed"


@pytest.mark.parametrize("libver", ["earliest"])
def test_an_old_hdf5_file_to_which_more_was_appended_than_its_superblock_counts_is_not_whole(
    source: Source, writer: Writer
) -> None:
    writer("create", "frames", "close")
    with (source.path / "x.h5").open("ab") as file:
        file.write(bytes(8000))
    text = why(source, "x.h5", "hdf5")
    assert text is not None
    assert text.startswith("it is open for writing: it has ")


@pytest.mark.parametrize("libver", LIBVERS)
@pytest.mark.parametrize("userblock", [0, 512, 4096])
def test_an_hdf5_file_is_whole_up_to_its_last_byte_only(source: Source, libver: str, userblock: int) -> None:
    path = source.path / "x.h5"
    with h5py.File(path, "w", libver=(libver, "latest"), userblock_size=userblock) as file:
        file["data"] = np.arange(1000)
    whole = path.read_bytes()
    assert why(source, "x.h5", "hdf5") is None
    for size in (
        len(whole) - 1,
        len(whole) // 2,
        userblock + 60,
        userblock + 12,
        userblock + 8,
        userblock + 3,
        1,
    ):
        path.write_bytes(whole[:size])
        assert why(source, "x.h5", "hdf5") is not None, size


def test_a_user_block_that_was_put_before_an_hdf5_file_counts(source: Source) -> None:
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file["data"] = np.arange(1000)
    path = write(source.path / "x.h5", bytes(1024) + memory.getvalue())
    assert why(source, "x.h5", "hdf5") is None
    path.write_bytes(path.read_bytes()[:-1])
    assert why(source, "x.h5", "hdf5") is not None


def test_what_is_no_hdf5_file_is_told(source: Source) -> None:
    write(source.path / "empty.h5", b"")
    write(source.path / "text.h5", b"no HDF5 " * 1000)
    assert why(source, "empty.h5", "hdf5") == "it is empty"
    assert why(source, "text.h5", "hdf5") == "it has no HDF5 signature"


@pytest.mark.parametrize("suffix", ["tif", "btf"])
@pytest.mark.parametrize("options", [{}, {"tile": (64, 64)}, {"rowsperstrip": 7}, {"byteorder": ">"}])
def test_a_tiff_is_whole_up_to_its_last_byte_only(
    source: Source, suffix: str, options: dict[str, object]
) -> None:
    path = source.path / f"x.{suffix}"
    with tifffile.TiffWriter(path, bigtiff=suffix == "btf", byteorder=options.pop("byteorder", "<")) as file:
        for number in range(3):
            file.write(np.full((100, 130), number, np.uint16), contiguous=False, **options)
    whole = path.read_bytes()
    assert why(source, path.name, "tiff") is None
    for size in (len(whole) - 1, len(whole) // 2, 100, 8, 3):
        path.write_bytes(whole[:size])
        assert why(source, path.name, "tiff") is not None, size


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
def test_a_tiff_of_another_writer_too(source: Source, compression: str | None) -> None:
    path = source.path / "x.tif"
    image = Image.fromarray(np.arange(20000, dtype=np.uint8).reshape(100, 200))
    image.save(path, compression=compression, save_all=True, append_images=[image] * 3)
    whole = path.read_bytes()
    assert why(source, "x.tif", "tiff") is None
    path.write_bytes(whole[: len(whole) // 2])
    assert why(source, "x.tif", "tiff") is not None


def test_a_tiff_of_many_images_is_looked_through(source: Source) -> None:
    with tifffile.TiffWriter(source.path / "x.tif") as file:
        for _ in range(2000):
            file.write(np.zeros((4, 4), np.uint8), contiguous=False)
    assert why(source, "x.tif", "tiff") is None
    path = source.path / "x.tif"
    path.write_bytes(path.read_bytes()[:-5])
    assert why(source, "x.tif", "tiff") is not None


def test_what_is_no_tiff_is_told(source: Source) -> None:
    write(source.path / "x.tif", b"text, and no image")
    assert why(source, "x.tif", "tiff") == "it has no TIFF header"
    write(source.path / "x.tif", struct.pack("<2sHI", b"II", 42, 0))
    assert why(source, "x.tif", "tiff") == "it has no image yet"


def test_directories_in_a_circle_end(source: Source) -> None:
    write(source.path / "x.tif", struct.pack("<2sHIHI", b"II", 42, 8, 0, 8))
    assert why(source, "x.tif", "tiff") is None


def test_absurd_headers_do_not_take_long(source: Source) -> None:
    """Each of many directories names the same strips, whose places fill most of the file."""
    values, directories = 1 << 16, 500
    start = 8 + 4 * values
    ifds = b"".join(
        struct.pack("<HHHIII", 1, 273, 4, values, 8, start + 18 * (number + 1))
        for number in range(directories)
    )
    content = struct.pack("<2sHI", b"II", 42, start) + bytes(4 * values) + ifds + struct.pack("<HI", 0, 0)
    write(source.path / "x.tif", content)
    assert why(source, "x.tif", "tiff") is None


def test_a_rigaku_file_is_whole_words(source: Source) -> None:
    for size, whole in ((0, False), (8, True), (8000, True), (8001, False), (8004, False)):
        write(source.path / "x.bin", bytes(size))
        assert (why(source, "x.bin", "rigaku") is None) is whole


def test_without_a_rule_anything_is_whole(source: Source) -> None:
    write(source.path / "x.h5", b"")
    assert why(source, "x.h5", "settled") is None


def test_what_was_cut_since_it_was_opened_is_not_whole(source: Source) -> None:
    path = source.path / "x.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.arange(1000)
    size = path.stat().st_size
    with path.open("rb+") as file:
        file.truncate(4)
        assert why_not_whole(file.fileno(), size, "hdf5") == "it was cut while it was looked at"


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("x.h5", "hdf5"), ("a/b/X.HDF5", "hdf5"), ("x.nxs", "hdf5"), ("x.hdf", "hdf5"), ("x.tif", "tiff"),
        ("x.ome.tiff", "tiff"), ("x.bin.000", "rigaku"), ("x.bin.005", "rigaku"), ("x.bin.006", "settled"),
        ("x.bin", "settled"), ("h5", "settled"), ("x.h5.md5", "settled"), ("x", "settled"),
    ],
)  # fmt: skip
def test_the_rule_goes_by_the_suffix(name: str, rule: str) -> None:
    assert rule_for(name) == rule


def test_the_first_pattern_that_fits_wins() -> None:
    rules: dict[str, Rule] = {"raw/*.h5": "settled", "*.bin": "rigaku", "scan_*": "tiff", "*.h5": "hdf5"}
    assert rule_for("raw/x.h5", rules) == "settled"
    assert rule_for("other/x.h5", rules) == "hdf5"
    assert rule_for("raw/scan_1.bin", rules) == "rigaku"
    assert rule_for("raw/scan_1.dat", rules) == "tiff"
    assert rule_for("x.tif", rules) == "tiff"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("samples")
    for libver in ("earliest", "latest"):
        with h5py.File(folder / f"{libver}.h5", "w", libver=libver) as file:
            file["data"] = np.arange(100)
    tifffile.imwrite(folder / "x.tif", np.zeros((50, 50), np.uint8), rowsperstrip=5)
    tifffile.imwrite(folder / "x.btf", np.zeros((50, 50), np.uint8), rowsperstrip=5, bigtiff=True)
    return [path.read_bytes() for path in sorted(folder.iterdir())]


@given(
    which=st.integers(0, 3),
    size=st.integers(0, 4000),
    damage=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8),
)
def test_damaged_headers_never_break_the_look(
    samples: list[bytes], which: int, size: int, damage: list[tuple[int, int]]
) -> None:
    content = bytearray(samples[which][:size])
    for place, value in damage:
        content[place : place + 1] = bytes([value])[: max(0, len(content) - place)]
    with Memory(bytes(content)) as reader:
        for look in (why_not_hdf5, why_not_tiff):
            try:
                text = look(reader)
            except (ShortError, SpentError):
                continue
            assert text is None or text.startswith("it")


class Memory:
    """A reader of a file without a name."""

    def __init__(self, content: bytes) -> None:
        self._fd = os.memfd_create("content")
        os.write(self._fd, content)
        self._size = len(content)

    def __enter__(self) -> ContentReader:
        return ContentReader(self._fd, self._size)

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
