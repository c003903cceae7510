"""Files on their way to a real Tiled server: once, whatever happens, under any name."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
import tifffile

from apsdm_bluesky.spool import Delivery, Spool, uri_path
from tests.daq.experiments import Files, delivered
from tests.servers import CuttingProxy
from tests.spool.runs import counting_run, uid_of
from tests.waiting import wait_for

ROOT = Path(__file__).parent.parent.parent
ODD = [
    "with space",
    " leading and trailing ",
    "per%cent%41",
    "ha#sh",
    "que?ry=1&x",
    "plus+semi;colon:comma,at@",
    "quo'te\"s`",
    "ünïcode-漢字-\u0301",
    ".hidden",
    "...",
    "a..b",
    "~tilde",
    "star*[brackets]{braces}",
    "dollar$pipe|less<",
    "x" * 200,
    "scan_.tif",
    "1",
    "back\\slash",
    "-",
]


@pytest.fixture
def files(tiled_server):
    return Files(tiled_server.config)


@pytest.fixture
def root(tiled_server):
    with tiled_server.client() as root:
        yield root


def tiff(image):
    content = io.BytesIO()
    tifffile.imwrite(content, image)
    return content.getvalue()


def everything(folder):
    """Each node below by its path: metadata, files, data sources."""
    return below(folder.include_data_sources(), ())


def below(folder, place):
    found = {}
    for key, child in folder.items():
        if child.structure_family == "container" and "path" not in child.metadata:
            found |= below(child, (*place, key))
        else:
            sources = child.data_sources()
            assets = [
                (asset.data_uri, asset.num, asset.size) for source in sources for asset in source.assets
            ]
            found[*place, key] = (dict(child.metadata), assets, [source.id for source in sources])
    return found


def test_names_of_every_kind(tiled_server, files, root):
    written = {}
    for number, name in enumerate(ODD):
        written[name] = f"file {number}".encode()
        written[f"folder {name}/{name}"] = f"inner {number}".encode()
    # On a file system of one moment a name is a file or a folder; over time it may be both.
    files.deliver(tiled_server, *(files.write(name, content) for name, content in written.items()))
    found = everything(root["files"][files.name])
    assert {told["path"] for told, _, _ in found.values()} == set(written)
    for keys, (told, assets, _) in found.items():
        node = root["files"][files.name]
        for key in keys:
            node = node[key]
        assert node.read().tobytes() == written[told["path"]], keys
        assert root["files", files.name, *keys].read().tobytes() == written[told["path"]]
        assert uri_path(assets[0][0]) == files.data / told["path"]
    assert ("per_cent_41",) in found
    assert ("with space",) in found


def test_names_that_become_the_same(tiled_server, files, root):
    names = ["a#b.dat", "a?b.dat", "a%b.dat", "a_b.dat", "a#/x", "a?/x"]
    written = [files.write(name, name.encode()) for name in names]
    for _ in range(2):
        files.deliver(tiled_server, *written)
        found = everything(root["files"][files.name])
        assert sorted(told["path"] for told, _, _ in found.values()) == sorted(names)
    for keys, (told, _, _) in found.items():
        assert root["files", files.name, *keys].read().tobytes() == told["path"].encode()


def test_what_was_a_file_becomes_a_folder_and_back(tiled_server, files, root):
    first = files.write("x", b"a file")
    files.deliver(tiled_server, first)
    (files.data / "x").unlink()
    second = files.write("x/x", b"in a folder")
    files.deliver(tiled_server, second)
    third = files.write("y/z", b"in another one")
    files.deliver(tiled_server, third)
    (files.data / "y/z").unlink()
    (files.data / "y").rmdir()
    fourth = files.write("y", b"was a folder")
    files.deliver(tiled_server, fourth)
    found = everything(root["files"][files.name])
    assert sorted(told["path"] for told, _, _ in found.values()) == ["x", "x/x", "y", "y/z"]
    for keys, (told, _, _) in found.items():
        if told["path"] in ("x/x", "y"):
            content = {"x/x": b"in a folder", "y": b"was a folder"}[told["path"]]
            assert root["files", files.name, *keys].read().tobytes() == content


def samples(files):
    image = np.arange(12, dtype="u2").reshape(3, 4)
    written = [files.write(f"a/s_{n}.tif", tiff(image + n)) for n in range(5)]
    written += [files.write(f"a/b/{n}.dat", bytes(n)) for n in range(8)]
    return [*written, files.write("lone_1.tif", tiff(image)), files.write("bad.h5", b"bad")]


def test_twice_delivered_is_once(tiled_server, files, root):
    documents = files.run(*samples(files))
    with delivered(tiled_server, documents):
        before = everything(root["files"][files.name])
    assert len(before) == 11
    with delivered(tiled_server, documents):
        assert everything(root["files"][files.name]) == before


def test_new_content_under_the_same_path_replaces_older(tiled_server, files, root):
    first = files.write("x.dat", b"one")
    files.deliver(tiled_server, first)
    second = files.stored("x.dat") if not files.write("x.dat", b"three") else files.stored("x.dat", version=2)
    files.deliver(tiled_server, second)
    node = root["files"][files.name]["x.dat"]
    assert (node.read().tobytes(), node.metadata["version"], node.metadata["size"]) == (b"three", 2, 5)
    files.deliver(tiled_server, first)  # comes late
    assert root["files"][files.name]["x.dat"].metadata["version"] == 2


def test_nodes_of_others_are_not_touched(tiled_server, files, root):
    root.create_container("files") if "files" not in root else None
    others = root["files"].create_container(files.name, metadata={"whose": "other"})
    others.write_array(np.arange(3), key="x.dat", metadata={"whose": "other"})
    others.write_array(np.arange(4), key="s_*.tif", metadata={"whose": "other"})
    image = np.arange(12, dtype="u2").reshape(3, 4)
    written = [files.write(f"s_{n}.tif", tiff(image + n)) for n in range(3)]
    written.append(files.write("x.dat", b"ours"))
    for _ in range(2):
        files.deliver(tiled_server, *written)
        folder = root["files"][files.name]
        assert (folder.metadata["whose"], folder["x.dat"].metadata) == ("other", {"whose": "other"})
        assert folder["x.dat"].read().tolist() == [0, 1, 2]
        assert folder["s_*.tif"].read().tolist() == [0, 1, 2, 3]
        ours = {key: node for key, node in folder.items() if "path" in node.metadata}
        assert sorted(node.metadata["path"] for node in ours.values()) == ["s_*.tif", "x.dat"]
        assert {key[:4] for key in ours} == {"s_*~", "x~" + next(k for k in ours if k[0] == "x")[2:4]}


@pytest.mark.parametrize(
    "cut", [b"/register/", b"/data_source/", b"PUT /api/v1/metadata", b"/api/v1/metadata"]
)
@pytest.mark.parametrize("times", [1, 4])
def test_lost_answers_do_no_harm(tiled_server, files, root, cut, times):
    image = np.arange(12, dtype="u2").reshape(3, 4)
    files.deliver(tiled_server, *(files.write(f"a/s_{n}.tif", tiff(image + n)) for n in range(2)))
    documents = files.run(
        *(files.write(f"a/s_{n}.tif", tiff(image + n)) for n in range(2, 5)), *samples(files)
    )
    proxy = CuttingProxy(tiled_server.uri, cut, times)
    try:
        with delivered(tiled_server, documents, uri=proxy.uri):
            pass
        assert proxy.cuts
    finally:
        proxy.close()
    before = everything(root["files"][files.name])
    assert len(before) == 11
    assert root["files"][files.name]["a"]["s_*.tif"].metadata["files"] == 5
    with delivered(tiled_server, documents):
        assert everything(root["files"][files.name]) == before


KILLED = """
import sys
from pathlib import Path
from apsdm_bluesky.spool import Delivery, Spool
from apsdm_bluesky.spool._nodes import Nodes
from tests.dying import die_at
spool, uri, key, step = sys.argv[1:]
die_at(int(step), (Nodes, ["create", "put_source", "put_metadata", "delete"]), after=True)
(session,) = Spool(Path(spool)).adopt()
delivery = Delivery(session, uri, key)
delivery.start()
assert delivery.wait_idle(60)
delivery.close(1)
"""


@pytest.mark.parametrize("step", [1, 4, 7, 12, 14, 16, 18, 20, 24])
def test_killed_between_it_is_brought_to_its_end(tiled_server, files, root, step, tmp_path):
    image = np.arange(12, dtype="u2").reshape(3, 4)
    files.deliver(tiled_server, files.write("s_1.tif", tiff(image)))
    written = [files.write(f"s_{n}.tif", tiff(image + n)) for n in range(2, 5)]
    written += [files.write(f"a/{n}.dat", bytes(n)) for n in range(3)] + [files.write("t_1.tif", tiff(image))]
    session = Spool(tmp_path).open_session()
    session.put_run(files.run(*written))
    session.close()
    command = [sys.executable, "-c", KILLED, str(tmp_path), tiled_server.uri, tiled_server.api_key, str(step)]
    code = subprocess.run(command, cwd=ROOT, timeout=120, check=False, capture_output=True).returncode
    assert code in (-signal.SIGKILL, 0)
    for session in Spool(tmp_path).adopt():
        assert code
        delivery = Delivery(session, tiled_server.uri, tiled_server.api_key)
        delivery.start()
        assert delivery.wait_idle(60)
        delivery.close(1)
        session.close()
    found = everything(root["files"][files.name])
    assert set(found) == {("s_*.tif",), ("a", "0.dat"), ("a", "1.dat"), ("a", "2.dat"), ("t_1.tif",)}
    told, assets, _ = found["s_*.tif",]
    assert (told["numbers"], [number for _, number, _ in assets]) == ([[1, 4]], [1, 2, 3, 4])
    assert len(told["runs"]) == 2


def test_many_files_hold_up_no_other_run(tiled_server, files, tmp_path):
    """The other run is delivered while the files still are."""
    many = [files.write(f"{n}.dat", b"x") for n in range(300)]
    session = Spool(tmp_path).open_session()
    session.put_run(files.run(*many))
    other = counting_run(3)
    with contextlib.closing(session):
        delivery = Delivery(session, tiled_server.uri, tiled_server.api_key)
        delivery.start()
        for name, doc in other:
            session.write(name, doc)
        delivery.wake()
        runs = {run.uid: run for run in session.runs()}
        big, small = (runs.pop(uid_of(other)), *runs.values())[::-1]
        wait_for(lambda: small.delivered, 60, "the other run delivered")
        assert not big.delivered
        delivery.close(0)


def test_a_run_of_nothing_and_a_missing_file(tiled_server, files, root):
    files.deliver(tiled_server)
    gone = files.write("gone.h5", b"content")
    (files.data / "gone.h5").unlink()
    files.deliver(tiled_server, gone, uid=str(uuid.uuid4()))
    assert "unreadable" in root["files"][files.name]["gone.h5"].metadata
    assert os.listdir(files.data) == []  # noqa: PTH208
