"""A folder whose files are opened without following a link, whatever is swapped in."""

import errno
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from apsdm_bluesky.daq._source import OddFileError, Source
from tests.daq.trees import open_descriptors, read, write


@pytest.fixture
def top(tmp_path: Path) -> Path:
    write(tmp_path / "top/a/b/file.h5", b"inside")
    write(tmp_path / "outside/b/file.h5", b"outside")
    return tmp_path / "top"


@pytest.fixture
def source(top: Path) -> Iterator[Source]:
    with Source(top) as source:
        yield source


def test_reads_a_file_below(source: Source) -> None:
    assert read(source, "a/b/file.h5") == b"inside"
    assert source.stat("a/b/file.h5").st_size == 6


def test_of_a_file_that_is_not_there_the_error_is_the_systems(source: Source) -> None:
    for name in ("gone", "a/gone", "gone/file"):
        with pytest.raises(FileNotFoundError):
            source.open(name)
        with pytest.raises(FileNotFoundError):
            source.stat(name)
    with pytest.raises(NotADirectoryError):
        source.open("a/b/file.h5/more")


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "..", "a/../a", "a//file", "a/", "./a", "../outside/b/file.h5"]
)
def test_no_name_leads_out(source: Source, name: str) -> None:
    for look in (source.open, source.stat):
        with pytest.raises(OddFileError):
            look(name)


def test_a_link_is_refused_and_told_where_to(source: Source, top: Path) -> None:
    (top / "link.h5").symlink_to(top.parent / "outside/b/file.h5")
    (top / "inner.h5").symlink_to("a/b/file.h5")
    for name, target in (("link.h5", "outside/b/file.h5"), ("inner.h5", "a/b/file.h5")):
        for look in (source.open, source.stat):
            with pytest.raises(OddFileError, match=f"a link to .*{target}, which is not followed"):
                look(name)


def test_a_folder_that_is_a_link_is_refused(source: Source, top: Path) -> None:
    (top / "b").symlink_to(top.parent / "outside/b")
    (top / "c").symlink_to(top.parent / "outside")
    for name in ("b/file.h5", "c/b/file.h5"):
        with pytest.raises(OddFileError, match=r"a link to .*outside"):
            source.open(name)


def test_what_is_no_regular_file_is_refused_and_does_not_hang(source: Source, top: Path) -> None:
    os.mkfifo(top / "fifo")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(f"/proc/self/fd/{source.root.fd}/socket")
        for name, kind in (("fifo", "a named pipe"), ("socket", "a socket"), ("a", "a folder")):
            with pytest.raises(OddFileError, match=kind) as caught:
                source.open(name)
            assert caught.value.reason == kind


@pytest.mark.parametrize("part", ["a", "a/b"])
def test_a_link_swapped_in_for_a_folder_that_was_read_before_is_not_followed(
    source: Source, top: Path, part: str
) -> None:
    assert read(source, "a/b/file.h5") == b"inside"
    (top / part).rename(top.parent / "moved")
    (top / part).symlink_to(top.parent / "outside" / part.removeprefix("a").removeprefix("/"))
    with pytest.raises(OddFileError, match="a link to"):
        source.open("a/b/file.h5")


def test_a_link_swapped_in_again_and_again_is_never_followed(source: Source, top: Path) -> None:
    """A race for real: one thread swaps, the other opens; it reads what is inside, or is refused."""
    parked = top.parent / "parked"
    results = set()

    def swap() -> None:
        for _ in range(300):
            (top / "a").rename(parked)
            (top / "a").symlink_to(top.parent / "outside")
            (top / "a").unlink()
            parked.rename(top / "a")

    with ThreadPoolExecutor() as pool:
        swapping = pool.submit(swap)
        while not swapping.done():
            with suppress(OddFileError, FileNotFoundError, NotADirectoryError):
                results.add(read(source, "a/b/file.h5"))
        swapping.result()
    assert results <= {b"inside"}
    assert read(source, "a/b/file.h5") == b"inside"


def test_a_folder_that_was_made_anew_is_looked_into(source: Source, top: Path) -> None:
    assert read(source, "a/b/file.h5") == b"inside"
    (top / "a").rename(top / "old")
    write(top / "a/b/file.h5", b"new")
    assert read(source, "a/b/file.h5") == b"new"


def test_only_the_last_folders_are_kept_open(source: Source, top: Path) -> None:
    for number in range(200):
        write(top / f"many/{number}/file")
    before = open_descriptors()
    for number in range(200):
        read(source, f"many/{number}/file")
    assert open_descriptors() <= before + 17


def test_threads_share_it(source: Source, top: Path) -> None:
    names = [f"many/{number}/file" for number in range(60)]
    for name in names:
        write(top / name, name.encode())
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda name: read(source, name), names * 5)) == [n.encode() for n in names * 5]


def test_a_closed_one_opens_nothing_and_leaves_nothing_open(top: Path) -> None:
    before = open_descriptors()
    source = Source(top)
    read(source, "a/b/file.h5")
    source.close()
    source.close()
    assert open_descriptors() == before
    with pytest.raises(OSError, match="closed") as caught:
        source.open("a/b/file.h5")
    assert caught.value.errno == errno.EBADF


def test_the_folder_itself_may_be_reached_by_a_link_and_is_pinned(top: Path) -> None:
    link = top.parent / "link"
    link.symlink_to(top)
    with Source(link) as source:
        assert source.real == top
        link.unlink()
        link.symlink_to(top.parent / "outside")
        assert read(source, "a/b/file.h5") == b"inside"
        assert source.in_place()


def test_tells_when_another_folder_is_in_its_place(source: Source, top: Path) -> None:
    assert source.in_place()
    top.rename(top.parent / "moved")
    assert not source.in_place()
    top.mkdir()
    assert not source.in_place()
    assert read(source, "a/b/file.h5") == b"inside"


def test_a_single_file_is_the_only_one(top: Path) -> None:
    write(top / "a/b/other.h5")
    with Source(top / "a/b/file.h5") as source:
        assert source.single == "file.h5"
        assert source.real == top / "a/b/file.h5"
        assert read(source, "file.h5") == b"inside"
        with pytest.raises(FileNotFoundError):
            source.open("other.h5")


def test_a_link_to_a_file_is_that_file(top: Path) -> None:
    (top / "latest.h5").symlink_to("a/b/file.h5")
    with Source(top / "latest.h5") as source:
        assert source.single == "file.h5"
        assert read(source, "file.h5") == b"inside"


def test_what_cannot_be_a_source_is_refused(top: Path) -> None:
    os.mkfifo(top / "fifo")
    with pytest.raises(OddFileError, match="is a named pipe; give a folder or a file"):
        Source(top / "fifo")
    with pytest.raises(FileNotFoundError):
        Source(top / "gone")
