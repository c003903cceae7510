"""What is seen in a folder, and what is told of that which is not taken."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from apsdm_bluesky.daq._scan import DEEPEST, Odd, Seen, scan
from apsdm_bluesky.daq._source import Source
from apsdm_bluesky.daq._wants import Wants
from tests.daq.trees import as_nobody, open_descriptors, write

ALL = Wants()


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    (tmp_path / "top").mkdir()
    with Source(tmp_path / "top") as source:
        yield source


def names(source: Source, wants: Wants = ALL, folder: str = "", recursive: bool = True) -> set[str]:
    found = list(scan(source, wants, folder, recursive))
    assert len({each.name for each in found}) == len(found)
    assert not [each for each in found if isinstance(each, Odd)]
    return {each.name for each in found}


def odd(source: Source, wants: Wants = ALL, folder: str = "") -> dict[str, str]:
    return {each.name: each.reason for each in scan(source, wants, folder) if isinstance(each, Odd)}


def test_sees_each_file_as_it_is(source: Source) -> None:
    path = write(source.path / "a/b/file.h5", b"12345")
    info = path.stat()
    assert list(scan(source, ALL)) == [
        Seen("a/b/file.h5", 5, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)
    ]


def test_sees_all_levels_or_one(source: Source) -> None:
    for name in ("top", "a/one", "a/b/two", "c/three", "ä/µ m.h5"):
        write(source.path / name)
    (source.path / "empty").mkdir()
    assert names(source) == {"top", "a/one", "a/b/two", "c/three", "ä/µ m.h5"}
    assert names(source, folder="a") == {"a/one", "a/b/two"}
    assert names(source, folder="a", recursive=False) == {"a/one"}
    assert names(source, recursive=False) == {"top"}


def test_takes_what_is_wanted(source: Source) -> None:
    for name in ("x.h5", "x.tmp", ".x.h5", "raw/y.h5", "raw/z.bin", ".cache/w.h5", "skip/v.h5"):
        write(source.path / name)
    assert names(source) == {"x.h5", "x.tmp", "raw/y.h5", "raw/z.bin", "skip/v.h5"}
    assert names(source, Wants(include=("*.h5",), exclude=("skip",))) == {"x.h5", "raw/y.h5"}
    assert names(source, Wants(include=("raw/*",))) == {"raw/y.h5", "raw/z.bin"}
    assert names(source, Wants(include=("*.h5",), hidden=True)) == {
        "x.h5",
        ".x.h5",
        "raw/y.h5",
        ".cache/w.h5",
        "skip/v.h5",
    }
    assert names(source, Wants(exclude=("raw",)), folder="raw") == set()
    assert names(source, Wants(exclude=("raw",)), folder="raw/deeper") == set()


def test_a_folder_that_is_gone_holds_nothing(source: Source) -> None:
    write(source.path / "file")
    assert names(source, folder="gone") == names(source, folder="file") == set()


def test_links_are_told_and_not_followed(source: Source) -> None:
    write(source.path.parent / "outside/secret.h5")
    write(source.path / "in.h5")
    for link, target in (
        ("out", "../outside"),
        ("in", "."),
        ("file", "in.h5"),
        ("dangling", "nowhere"),
        ("self", "self"),
    ):
        (source.path / link).symlink_to(target)
    assert odd(source) == {
        link: f"a link to {target}, which is not followed"
        for link, target in (
            ("out", "../outside"),
            ("in", "."),
            ("file", "in.h5"),
            ("dangling", "nowhere"),
            ("self", "self"),
        )
    }
    assert names(source, Wants(exclude=("out", "in", "file", "dangling", "self"))) == {"in.h5"}
    assert odd(source, folder="out") == {"out": "a link to ../outside, which is not followed"}


def test_pipes_sockets_and_devices_are_told(source: Source) -> None:
    os.mkfifo(source.path / "fifo")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(f"/proc/self/fd/{source.root.fd}/socket")
    assert odd(source) == {"fifo": "a named pipe", "socket": "a socket"}


def test_names_that_are_no_text_are_told_escaped(source: Source) -> None:
    for name in (
        b"caf\xe9.h5",
        b"two\nlines",
        b"\x1b[31mred",
        "right\u202eleft".encode(),
        b"\xff folder/file",
    ):
        write(source.path / os.fsdecode(name))
    found = odd(source)
    utf8, control = "its name is no UTF-8; rename it", "its name has control characters; rename it"
    assert found == {
        "caf\\xe9.h5": utf8,
        "\\xff folder": utf8,
        "two\\nlines": control,
        "\\x1b[31mred": control,
        "right\\u202eleft": control,
    }
    assert names(source, Wants(exclude=("*",))) == set()


def test_what_cannot_be_read_is_told(source: Source) -> None:
    source.path.chmod(0o755)
    write(source.path / "closed/file")
    write(source.path / "listed/file")
    write(source.path / "open/file")
    (source.path / "closed").chmod(0o000)
    (source.path / "listed").chmod(0o744)
    try:
        with as_nobody():
            found = list(scan(source, ALL))
            below = list(scan(source, ALL, "closed"))
    finally:
        (source.path / "closed").chmod(0o755)
        (source.path / "listed").chmod(0o755)
    assert [each.name for each in found if isinstance(each, Seen)] == ["open/file"]
    closed = Odd("closed", "cannot be read: Permission denied")
    assert closed in found
    assert below == [closed]
    assert Odd("listed", "cannot be read: Permission denied") in found or (
        Odd("listed/file", "cannot be read: Permission denied") in found
    )


def test_a_source_that_cannot_be_read_is_an_error(source: Source) -> None:
    source.path.chmod(0o000)
    try:
        with as_nobody(), pytest.raises(PermissionError):
            list(scan(source, ALL))
    finally:
        source.path.chmod(0o755)


def test_folders_too_deep_are_told(source: Source) -> None:
    deep = source.path.joinpath(*["d"] * (DEEPEST + 1))
    write(deep / "file")
    write(deep.parent.parent / "last")
    found = list(scan(source, ALL))
    assert [each.name for each in found if isinstance(each, Seen)] == ["d/" * (DEEPEST - 1) + "last"]
    assert [each for each in found if isinstance(each, Odd)] == [
        Odd("/".join("d" * DEEPEST), f"lies {DEEPEST} folders deep: what is in it is not looked at")
    ]


_MOUNTED = """
import subprocess, sys
from pathlib import Path
from apsdm_bluesky.daq._scan import scan
from apsdm_bluesky.daq._source import Source
from apsdm_bluesky.daq._wants import Wants
top = Path(sys.argv[1])
subprocess.run(["mount", "--bind", top, top / "a/loop"], check=True)
with Source(top) as source:
    for found in scan(source, Wants()):
        print(found.name, getattr(found, "reason", ""))
"""


def test_a_folder_that_is_mounted_into_itself_is_told(source: Source) -> None:
    write(source.path / "a/file")
    (source.path / "a/loop").mkdir()
    private = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*private, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mounts for an unprivileged user on this machine")
    command = [*private, sys.executable, "-c", _MOUNTED, str(source.path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert sorted(done.stdout.splitlines()) == [
        "a/file ",
        "a/loop is one of the folders that it lies in, mounted once more",
    ]


def test_what_vanishes_meanwhile_is_not_there(source: Source) -> None:
    for number in range(5):
        write(source.path / f"{number}")
    write(source.path / "z/file")
    looking = scan(source, ALL)
    first = next(looking)
    for each in source.path.iterdir():
        if each.is_file() and each.name != first.name:
            each.unlink()
    write(source.path / "moved/file")
    (source.path / "z/file").unlink()
    (source.path / "z").rmdir()
    assert [each.name for each in looking if each.name != "moved/file"] == []


def test_a_folder_replaced_by_a_link_between_listing_and_entering_is_told(source: Source) -> None:
    write(source.path.parent / "outside/secret")
    write(source.path / "a/file")
    write(source.path / "first")
    looking = scan(source, ALL)
    assert next(looking).name == "first"
    (source.path / "a").rename(source.path.parent / "parked")
    (source.path / "a").symlink_to("../outside")
    assert list(looking) == [Odd("a", "a link to ../outside, which is not followed")]


def test_a_single_file_is_all_that_is_seen(source: Source) -> None:
    write(source.path / "other")
    path = write(source.path / "one.h5", b"123")
    with Source(path) as single:
        assert [(each.name, each.size) for each in scan(single, ALL) if isinstance(each, Seen)] == [
            ("one.h5", 3)
        ]
        path.unlink()
        assert list(scan(single, ALL)) == []
        path.symlink_to("other")
        assert list(scan(single, ALL)) == [Odd("one.h5", "a link to other, which is not followed")]


def test_two_looks_at_a_time_see_all(source: Source) -> None:
    expected = {f"{number}" for number in range(50)}
    for name in expected:
        write(source.path / name)
    one, other = scan(source, ALL), scan(source, ALL)
    pairs = list(zip(one, other, strict=True))
    assert {first.name for first, _ in pairs} == {second.name for _, second in pairs} == expected


def test_many_files_leave_no_descriptor_open(source: Source) -> None:
    for number in range(100):
        write(source.path / f"{number % 10}/{number // 10}/{number}")
    before = open_descriptors()
    looking = scan(source, ALL)
    next(looking)
    looking.close()
    assert len(names(source)) == 100
    assert open_descriptors() == before


def test_imports_are_light() -> None:
    """The process that watches reads no arrays; inotify is there only where it is used."""
    modules = ("", "._scan", "._watch", "._porter")
    script = f"import sys, {', '.join('apsdm_bluesky.daq' + each for each in modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    heavy = {"numpy", "h5py", "numba", "bluesky", "tiled", "inotify_simple"}
    assert not heavy & set(done.stdout.split())
