"""One member of a bundle, read by its offset: only where the tar has it there, and never more of it."""

import dataclasses
import hashlib
import io
import tarfile

import pytest

from apsdm_bluesky.archive import copy_member
from apsdm_bluesky.archive._sources import SourceFile
from apsdm_bluesky.archive._tar import TarWriter
from apsdm_bluesky.errors import FormatError

LONG = "raw/" + "µ" * 150 + "/data.bin"
NAMES = ["documents/run.jsonl", LONG, "raw/empty", "raw/run/0"]


@pytest.fixture
def tar(tmp_path):
    return tmp_path / "run.tar"


@pytest.fixture
def members(tmp_path, tar):
    """A tar as `make_bundle` writes it, and its members by name."""
    made = {}
    with TarWriter(tar, lambda _: None) as writer:
        for number, name in enumerate(NAMES):
            source = tmp_path / f"source{number}"
            content = b"" if name.endswith("empty") else bytes([number + 1]) * (5_000_000 * number + 100)
            source.write_bytes(content)
            made[name] = writer.add(SourceFile(name=name, path=source, size=len(content), mtime_ns=0))
        writer.finish()
    return made


def copied(tar, member, progress=lambda _: None):
    target = io.BytesIO()
    return copy_member(tar, member, target, progress), target.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_copies_one_member_and_tells_its_digest(tar, members, name):
    counts = []
    digest, content = copied(tar, members[name], counts.append)
    assert digest == members[name].sha256 == hashlib.sha256(content).hexdigest()
    assert sum(counts) == len(content) == members[name].size
    assert max(counts, default=0) <= 4 * 2**20


def test_a_flipped_byte_shows_in_the_digest(tar, members):
    member = members["raw/run/0"]
    with tar.open("r+b") as file:
        file.seek(member.offset + 7)
        file.write(b"\xff")
    assert copied(tar, member)[0] != member.sha256


@pytest.mark.parametrize(
    "change",
    [
        {"offset": -512},
        {"offset": 0},
        {"offset": 512 + 1},
        {"offset": 1 << 80},
        {"size": -1},
        {"size": 1 << 80},
        {"size": 101},
        {"path": "documents/other.jsonl"},
    ],
    ids=str,
)
def test_what_the_tar_does_not_have_there_is_refused(tar, members, change):
    member = dataclasses.replace(members["documents/run.jsonl"], **change)
    target = io.BytesIO()
    with pytest.raises(FormatError, match=r"run\.tar"):
        copy_member(tar, member, target, lambda _: None)
    assert target.getvalue() == b""


def test_a_tar_cut_short_is_refused_before_anything_is_copied(tar, members):
    member = members["raw/run/0"]
    with tar.open("r+b") as file:
        file.truncate(member.offset + member.size - 1)
    with pytest.raises(FormatError, match="fetch it again"):
        copied(tar, member)
    assert copied(tar, members[LONG])[0] == members[LONG].sha256


def test_a_member_of_more_than_eight_gigabytes(tar, members):
    """Its size stands in an extended header; the content is a hole of the file system."""
    size = 9 * 2**30
    info = tarfile.TarInfo("raw/big")
    info.size = size
    header = info.tobuf(tarfile.PAX_FORMAT)
    with tar.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size)
    big = dataclasses.replace(members["raw/run/0"], path="raw/big", size=size, offset=len(header))

    class EnoughError(Exception):
        pass

    def stop(_):
        raise EnoughError

    with pytest.raises(EnoughError):
        copied(tar, big, stop)
