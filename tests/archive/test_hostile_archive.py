"""Manifests and tars from anybody: refused with one clear line, in bounded memory; nothing is written."""

import dataclasses
import hashlib
import io
import json
import re
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from apsdm_bluesky.archive import decode_manifest, encode_manifest
from apsdm_bluesky.archive._manifest import LARGEST
from apsdm_bluesky.archive._tar_index import index_tar
from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.model import ArchivedRun, BundleMember, Manifest

START = {"uid": "run", "time": 1.7e9}
DOCUMENTS = b'["start",{"uid":"run","time":1.7e9}]\n["stop",{"run_start":"run","exit_status":"success"}]\n'
PRINTS_PLAINLY = re.compile("[^\x00-\x1f\x7f-\x9f\u2028-\u202e]{1,600}")


def a_member(path, offset, *, size=10, runs=("run",)):
    source = f"/data/{path}"
    return BundleMember(
        path=path, size=size, mtime_ns=0, sha256="a" * 64, offset=offset, source=source, runs=runs
    )


GOOD = Manifest(
    schema=4,
    tool="test",
    runs=(ArchivedRun(uid="run", start=START, stop=None),),
    proposal=None,
    esaf=None,
    members=(a_member("documents/run.jsonl", 512), a_member("raw/a/0", 1536)),
    bundle="run.tar",
    size=10240,
    sha256="a" * 64,
    md5="b" * 32,
    part=1,
    parts=1,
    collection="local",
    path="test/run.tar",
)


def refused(data: bytes) -> str:
    with pytest.raises(FormatError) as raised:
        decode_manifest(data)
    message = str(raised.value)
    assert PRINTS_PLAINLY.fullmatch(message), message
    return message


def changed(**fields) -> bytes:
    return json.dumps(json.loads(encode_manifest(GOOD)) | fields).encode()


def test_the_good_one_is_taken():
    assert decode_manifest(encode_manifest(GOOD)) == GOOD


# -- manifests: values of wrong types, in every field --

PLACES = [
    *((), *((field.name,) for field in dataclasses.fields(Manifest))),
    *(("runs", 0, field.name) for field in dataclasses.fields(ArchivedRun)),
    *(("members", 1, field.name) for field in dataclasses.fields(BundleMember)),
]
VALUES = [
    None,
    True,
    -1,
    2**70,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "\x1b[2J\n",
    "\ud800",
    [],
    {},
    [[]],
    {"a": []},
]


def put(fields, place, value):
    if not place:
        return value
    inner = fields
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return fields


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)) or "whole")
def test_any_value_in_any_field_is_refused_or_keeps_its_meaning(place):
    """What is taken is of the type that is declared; whatever it is, it can be encoded and read again."""
    messages = []
    for value in VALUES:
        data = json.dumps(put(json.loads(encode_manifest(GOOD)), place, value)).encode()
        try:
            taken = decode_manifest(data)
        except FormatError as error:
            messages.append(str(error))
            continue
        fields = dataclasses.asdict(taken)
        for key in place:
            fields = fields[key]
        assert type(fields) is type(tuple(value) if isinstance(value, list) else value)
        assert decode_manifest(encode_manifest(taken)).members == taken.members
    assert [message for message in messages if not PRINTS_PLAINLY.fullmatch(message)] == []


@pytest.mark.parametrize(
    "place", [place for place in PLACES if place], ids=lambda place: ".".join(map(str, place))
)
def test_a_field_that_is_missing_is_refused_unless_it_came_later(place):
    fields = json.loads(encode_manifest(GOOD))
    inner = fields
    for key in place[:-1]:
        inner = inner[key]
    del inner[place[-1]]
    if place[-1] in ("task_id", "software", "ledger", "birth_sha256") or place[-2:] == (1, "runs"):
        decode_manifest(json.dumps(fields).encode())
    else:
        refused(json.dumps(fields).encode())


# -- manifests: names, places, schemas --


@pytest.mark.parametrize(
    "path",
    [
        "raw/../../etc/passwd",
        "/etc/passwd",
        "raw//a",
        "raw/./a",
        "raw/a/",
        "raw",
        "raw/",
        "etc/passwd",
        "documents/other.jsonl",
        "documents/run.jsonl/../x",
        "raw/a\nb",
        "raw/\x1b]0;title\x07",
        "raw/\u202egpj.exe",
        "raw/\ud800",
        "raw/a\0b",
    ],
    ids=ascii,
)
def test_member_names(path):
    member = dataclasses.asdict(GOOD.members[1]) | {"path": path, "source": f"/data/{path}"}
    refused(changed(members=[dataclasses.asdict(GOOD.members[0]), member]))


@pytest.mark.parametrize(
    "source", ["raw/a/0", "", "/data/../raw/a/0", "/etc/passwd", "/data/raw/a\n/0", "/"], ids=ascii
)
def test_member_sources(source):
    member = dataclasses.asdict(GOOD.members[1]) | {"source": source}
    refused(changed(members=[dataclasses.asdict(GOOD.members[0]), member]))


@pytest.mark.parametrize(
    ("offset", "size"),
    [
        (-512, 10),
        (0, 10),
        (512, 10),
        (1024, 10),
        (1537, 10),
        (10240, 1),
        (2**62, 10),
        (1536, 2**62),
        (1536, 8705),
    ],
)
def test_places_that_overlap_or_lead_out(offset, size):
    member = dataclasses.asdict(GOOD.members[1]) | {"offset": offset, "size": size}
    assert "raw/a/0" in refused(changed(members=[dataclasses.asdict(GOOD.members[0]), member]))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"schema": 99}, "schema 99; this version reads up to"),
        ({"schema": 10**30}, "this version reads up to"),
        ({"schema": 0}, "no schema"),
        ({"later": 1}, "unexpected keyword argument 'later'"),
        ({"bundle": "a/run.tar"}, "bundle 'a/run.tar'"),
        ({"bundle": "other.tar", "path": "x/other.tar"}, r"its name is other\.tar"),
        ({"path": "../run.tar"}, r"path '\.\./run.tar'"),
        ({"path": "/run.tar"}, "path '/run.tar'"),
        ({"path": ".hidden/run.tar"}, "path"),
        ({"part": 2}, "part 2 of 1"),
        ({"parts": 10**9}, "part 1 of 1000000000"),
        ({"sha256": "A" * 64}, "no digest"),
        ({"md5": "b" * 31}, "no digest"),
        ({"collection": "x\x1b[2J"}, r"collection 'x\\\\x1b\[2J'"),
        ({"runs": []}, "0 runs"),
        ({"members": []}, "0 documents of 1 runs"),
        ({"software": {"a": 1}}, "software without versions"),
    ],
    ids=str,
)
def test_the_bundle(fields, says):
    assert re.search(says, refused(changed(**fields)))


@pytest.mark.parametrize(
    "uid", ["", "../x", "a/b", ".a", "-a", "a" * 101, "a b", "a\n", "\u0430", "run.1of2", "a\0"], ids=ascii
)
def test_run_uids(uid):
    run = {"uid": uid, "start": {"uid": uid, "time": 1.7e9}, "stop": None, "ledger": None}
    refused(changed(runs=[run], bundle=f"{uid}.tar", path=f"test/{uid}.tar"))


@pytest.mark.parametrize(
    "start",
    [
        {},
        {"uid": "other", "time": 1},
        {"uid": "run"},
        {"uid": "run", "time": "x"},
        {"uid": "run", "time": 1e300},
    ],
    ids=str,
)
def test_start_documents(start):
    refused(changed(runs=[{"uid": "run", "start": start, "stop": None, "ledger": None}]))


@pytest.mark.parametrize("twice", ["run", "member"])
def test_what_stands_twice(twice):
    fields = json.loads(encode_manifest(GOOD))
    if twice == "run":
        fields["runs"] *= 2
    else:
        fields["members"].append(fields["members"][1] | {"offset": 4096})
    refused(json.dumps(fields).encode())


# -- manifests: bombs --


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 1_000_000,
        b'{"schema":' * 100_000,
        b"[" + b"[]," * 11_000_000 + b"[]]",
        b'{"schema":' + b"9" * 5000 + b"}",
        b"\xff\xfe{\x00}\x00",
        b'{"schema": 4, "schema": 5}',
        b'{"schema": NaN}',
        b"\0" * 1000,
    ],
    ids=["deep list", "deep object", "many values", "huge integer", "UTF-16", "twice", "NaN", "zeros"],
)
def test_bombs(data):
    refused(data)


def test_what_is_too_large_is_not_parsed():
    data = b" " * (LARGEST + 1)
    tracemalloc.start()
    try:
        assert "256 MiB" in refused(data)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_what_could_not_be_read_again_is_not_written():
    huge = dataclasses.replace(GOOD.members[1], source="/" + "x" * LARGEST)
    with pytest.raises(FormatError, match=r"lower archive\.bundle_gb"):
        encode_manifest(dataclasses.replace(GOOD, members=(huge,)))


# -- tars --


def plain(name: str, content: bytes = b"x" * 10) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % 512)


def special(kind: bytes, name: str = "raw/x", **fields) -> bytes:
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def extended(records: bytes, *, size: int | None = None, name: str = "raw/x") -> bytes:
    """An extended header of these records, followed by a plain one."""
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, len(records) if size is None else size
    return info.tobuf(tarfile.GNU_FORMAT) + records + bytes(-len(records) % 512) + plain(name)


def record(key: str, value: str) -> bytes:
    text = f" {key}={value}\n".encode("utf-8", "surrogateescape")
    length = len(text) + 1
    while len(str(length)) + len(text) != length:
        length += 1
    return str(length).encode() + text


START_OF_TAR = plain("documents/run.jsonl", DOCUMENTS)
TARS = {
    "symbolic link": special(tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard link": special(tarfile.LNKTYPE, linkname="documents/run.jsonl"),
    "character device": special(tarfile.CHRTYPE, devmajor=1, devminor=3),
    "block device": special(tarfile.BLKTYPE),
    "pipe": special(tarfile.FIFOTYPE),
    "folder": special(tarfile.DIRTYPE),
    "contiguous file": special(tarfile.CONTTYPE),
    "GNU sparse file": special(tarfile.GNUTYPE_SPARSE),
    "GNU long name": special(tarfile.GNUTYPE_LONGNAME),
    "unknown type": special(b"Z"),
    "global header": special(tarfile.XGLTYPE),
    "sparse by records": extended(record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0")),
    "sparse map": extended(record("GNU.sparse.map", "0,10") + record("GNU.sparse.size", "9")),
    "header of 4 GB": extended(record("path", "raw/a"), size=2**32),
    "header of 20 KB": extended(record("comment", "x" * 20_000)),
    "records that are none": extended(b"no records at all\n"),
    "record of length 0": extended(b"0 path=raw/a\n"),
    "negative size": extended(record("size", "-1")),
    "size with a sign": extended(record("size", "+10")),
    "size of many digits": extended(record("size", "9" * 5000)),
    "record that is cut": extended(record("path", "raw/a")[:-3]),
    "other keys": extended(record("comment", "hello")),
    "size that is none": extended(record("size", "many")),
    "two extended headers": extended(record("path", "raw/a"))[:1024] + extended(record("path", "raw/b")),
    "name that is no UTF-8": extended(b"16 path=raw/\xff\xfe\n"),
    "plain name that is no UTF-8": plain("raw/x").replace(b"raw/x", b"raw/\xff"),
    "name with ..": plain("raw/../../etc/passwd"),
    "absolute name": plain("/etc/passwd"),
    "absolute name by records": extended(record("path", "/etc/passwd")),
    "name with an escape": plain("raw/\x1b[2J"),
    "empty name": plain(""),
    "name of another kind": plain("etc/passwd"),
    "name twice": plain("raw/a") + plain("raw/a"),
    "names in no order": plain("raw/b") + plain("raw/a"),
    "documents of no run": plain("documents/other.jsonl", b"hello\n"),
    "documents with another uid": plain("documents/other.jsonl", DOCUMENTS),
    "documents that nest deeply": plain("documents/zzz.jsonl", b'["start",' + b"[" * 100_000 + b"\n"),
    "documents of no uid": plain("documents/a b.jsonl", DOCUMENTS.replace(b'"run"', b'"a b"')),
    "wrong checksum": plain("raw/x").replace(b"raw/x", b"raw/y"),
    "something behind the end": bytes(1024) + plain("raw/x"),
}


def indexed(tmp_path, data: bytes, name: str = "run.tar"):
    tar = tmp_path / "tar"
    tar.write_bytes(data)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    folders = {"raw": tmp_path / "raw", "documents": tmp_path / "documents"}
    return index_tar(
        tar,
        destination=f"test/{name}",
        collection="local",
        folders=folders,
        scratch=scratch,
        progress=lambda _: None,
    )


@pytest.mark.parametrize("name", TARS)
def test_tars_that_no_bundle_is(tmp_path, name):
    tracemalloc.start()
    try:
        with pytest.raises(FormatError) as raised:
            indexed(tmp_path, START_OF_TAR + TARS[name] + bytes(10240))
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()
    message = str(raised.value).replace(str(tmp_path), "")
    assert PRINTS_PLAINLY.fullmatch(message), message
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["scratch", "tar"]


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_compressed_tars(tmp_path, mode):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        tar.addfile(tarfile.TarInfo("raw/x"))
    with pytest.raises(FormatError, match=r"no tar header|no documents"):
        indexed(tmp_path, out.getvalue() + bytes(1024))


@pytest.mark.parametrize(
    "name", ["../run.tar", "run.zip", "run.0of99999999999.tar", "run.2of1.tar", "\x1b.tar"], ids=ascii
)
def test_names_of_tars(tmp_path, name):
    with pytest.raises(FormatError) as raised:
        indexed(tmp_path, START_OF_TAR + bytes(10240), name)
    assert PRINTS_PLAINLY.fullmatch(str(raised.value))


def test_a_line_of_documents_that_is_too_long_is_not_read(tmp_path):
    long = b'["start",{"uid":"run","time":1.7e9,"x":"' + b"x" * (65 * 2**20) + b'"}]\n'
    with pytest.raises(FormatError, match="more than 64 MiB"):
        indexed(tmp_path, plain("documents/run.jsonl", long) + bytes(10240))


CONTENT = {"raw/a": b"1" * 700, "raw/b": b"", "raw/c" + "d" * 200: b"3" * 512}
WHOLE = START_OF_TAR + b"".join(plain(name, content) for name, content in CONTENT.items())


def test_a_whole_tar(tmp_path):
    index = indexed(tmp_path, WHOLE + bytes(1024))
    assert index.cut == ""
    assert [member.path for member in index.manifest.members] == ["documents/run.jsonl", *CONTENT]
    data = Path(tmp_path / "tar").read_bytes()
    for member in index.manifest.members:
        content = data[member.offset : member.offset + member.size]
        assert member.sha256 == hashlib.sha256(content).hexdigest()
        assert content == CONTENT.get(member.path, DOCUMENTS)
    assert index.manifest.sha256 == hashlib.sha256(data).hexdigest()
    assert index.manifest.md5 == hashlib.md5(data, usedforsecurity=False).hexdigest()
    assert index.manifest.runs == (
        ArchivedRun(uid="run", start=START, stop={"run_start": "run", "exit_status": "success"}),
    )


@pytest.mark.parametrize("length", range(len(START_OF_TAR), len(WHOLE) + 1024, 200))
def test_a_tar_cut_anywhere_gives_what_is_whole(tmp_path, length):
    index = indexed(tmp_path, (WHOLE + bytes(1024))[:length])
    assert f"ends at byte {length}" in index.cut
    offsets = {member.path: member.offset + member.size for member in indexed_whole(tmp_path).members}
    whole = [path for path, end in offsets.items() if end <= length]
    assert [member.path for member in index.manifest.members] == whole


def indexed_whole(tmp_path):
    folder = tmp_path / "whole"
    folder.mkdir()
    return indexed(folder, WHOLE + bytes(1024)).manifest
