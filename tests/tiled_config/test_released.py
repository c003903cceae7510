"""Raw data that were released are never read, whatever of them is there: requests are answered 409."""

import os
import shutil
import time
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
import zarr
from fastapi import HTTPException
from tiled.structures.array import ArrayStructure
from tiled.structures.core import StructureFamily

from apsdm_bluesky.archive import Tombstone
from apsdm_bluesky.archive._tombstone import remove_tombstone, tombstone_path, write_tombstone
from apsdm_bluesky.tiled_config._released import ZARR
from tests.tiled_config.test_raw_frames import FRAMES, take

TOLD = "run {} is on tape, restore takes about 12 min: apsdm archive restore {}"


def tombstone(uid):
    return Tombstone(run=uid, bundles=(uid,), files=4, bytes=100, released=time.time(), restore_s=700.0)


class Released:
    """A run in the catalogue, and its files, of which some are put away."""

    def __init__(self, server, uid, folder, aside) -> None:
        self.server = server
        self.uid = uid
        self.folder = folder
        self.aside = aside
        self.told = TOLD.format(uid, uid)
        shutil.copytree(folder, aside)
        self.arrays = [folder / name for name in ("image", "frame_index", "timestamp")]

    def mark(self):
        for array in self.arrays:
            write_tombstone(array, tombstone(self.uid))

    def remove(self, few=False):
        for array in self.arrays:
            files = sorted(path for path in array.rglob("*") if path.is_file())
            chunks = [path for path in files if path.name != "zarr.json"]
            for path in chunks[:1] if few else files:
                path.unlink()

    def restore(self):
        shutil.copytree(self.aside, self.folder, dirs_exist_ok=True)
        for array in self.arrays:
            remove_tombstone(array)

    def get(self, path, **params):
        with self.server.http() as http:
            return http.get(
                f"/api/v1/{path.format(uid=self.uid)}", params=params, headers={"Accept": params.pop("accept", "*/*")}
            )


@pytest.fixture(scope="module", params=["dense", "events"])
def stored(request, tiled_server, tmp_path_factory):
    raw = tiled_server.config.folders.raw
    before = set(raw.iterdir()) if raw.exists() else set()
    uid = take(tiled_server, request.param)
    (folder,) = set(raw.iterdir()) - before
    return Released(tiled_server, uid, folder, tmp_path_factory.mktemp("aside") / "copy")


@pytest.fixture(params=["all there", "half removed", "all gone", "half back"])
def released(request, stored):
    """As it stands while it is released, when it was, and while it is restored."""
    stored.mark()
    if request.param != "all there":
        stored.remove(few=request.param == "half removed")
    if request.param == "half back":
        for array in stored.arrays:
            array.mkdir(exist_ok=True)
            shutil.copy(stored.aside / array.name / "zarr.json", array)
    yield stored
    stored.restore()


READS = [
    ("array/full/raw/{uid}/primary/det_image", {"format": "application/octet-stream"}),
    ("array/full/raw/{uid}/primary/det_image", {"format": "application/octet-stream", "slice": "5:7,1"}),
    ("array/full/raw/{uid}/primary/det_image", {"format": "application/json", "slice": "0,0,0"}),
    ("array/full/raw/{uid}/primary/det_image", {"format": "image/png", "slice": "3"}),
    ("array/block/raw/{uid}/primary/det_image", {"block": "0,0,0"}),
    ("array/block/raw/{uid}/primary/det_image", {"block": "0,0,0", "slice": "2:5"}),
    ("array/full/raw/{uid}/primary/det_frame_index", {"format": "application/octet-stream"}),
    ("array/full/raw/{uid}/primary/det_image", {"format": "text/csv", "slice": "0"}),
    ("array/full/raw/{uid}/primary/det_image", {"format": "image/tiff", "slice": "0"}),
]


@pytest.mark.parametrize(("path", "params"), READS)
def test_every_way_to_read_frames_tells_where_they_are(released, path, params):
    answer = released.get(path, **params)
    assert (answer.status_code, answer.json()) == (409, {"detail": released.told})
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["container/full/raw/{uid}/primary", "container/full/raw/{uid}"])
def test_exports_of_containers_hold_no_frames(released, path):
    """They have metadata alone, or are refused: Tiled packs no Bluesky stream into HDF5, no sparse one in JSON."""
    answers = {name: released.get(path, format=name) for name in ("application/x-hdf5", "application/json")}
    released.restore()
    for name, answer in answers.items():
        before = released.get(path, format=name)
        assert (answer.status_code, answer.content) == (before.status_code, before.content)


def test_sparse_frames_are_not_read_either(released):
    if "det_events" not in str(released.get("search/raw/{uid}/primary").json()):
        pytest.skip("dense")
    for path in ("array/full/raw/{uid}/primary/det_events", "array/block/raw/{uid}/primary/det_events"):
        answer = released.get(path, block="0,0,0")
        assert (answer.status_code, answer.json()["detail"]) == (409, released.told)


def test_the_client_shows_what_to_do(released):
    with released.server.client() as root:
        run = root["raw"][released.uid]
        image = run["primary"]["det_image"]
        for read in (
            image.read,
            lambda: image[5],
            lambda: image[5:7, 3],
            lambda: image.read_block((0, 0, 0)),
            run["primary"].read,
        ):
            with pytest.raises(httpx.HTTPStatusError, match=released.told):
                read()


def test_all_else_of_the_run_is_there(released):
    with released.server.client() as root:
        run = root["raw"][released.uid]
        assert run.metadata["start"]["uid"] == released.uid
        assert run["primary"]["det_image"].shape == FRAMES.shape
        assert "det_frame_index" in run["primary"]
        documents = list(run.documents())
        assert [name for name, _ in documents if name in ("start", "stop")] == ["start", "stop"]
        assert "stream_datum" in {name for name, _ in documents}
        assert released.uid in root["raw"]


def test_after_a_restore_the_same_entry_reads_again(stored):
    with stored.server.client() as root:
        image = root["raw"][stored.uid]["primary"]["det_image"]
        stored.mark()
        stored.remove()
        with pytest.raises(httpx.HTTPStatusError, match="is on tape"):
            image.read()
        stored.restore()
        np.testing.assert_array_equal(image.read(), FRAMES)


RUBBISH = {
    "empty": b"",
    "no JSON": b"\x00\xff released",
    "another thing": b"[1, 2]",
    "a later schema": b'{"schema": 99}',
    "deep": b"[" * 60_000,
    "huge": b" " * 2**20,
    "wrong values": b'{"schema": 1, "run": 5, "bundles": null, "files": 1, "bytes": 1, "released": 1}',
    "infinite": b'{"schema": 1, "run": "r", "bundles": [], "files": Infinity, "bytes": 1, "released": 1, '
    b'"restore_s": 1}',
    "lines": b'{"schema": 1, "run": "a\\nb", "bundles": [], "files": 1, "bytes": 1, "released": 1, '
    b'"restore_s": 1}',
}


@pytest.mark.parametrize("content", RUBBISH.values(), ids=RUBBISH.keys())
def test_a_damaged_tombstone_is_one_clear_error(stored, content):
    place = tombstone_path(stored.arrays[0])
    place.write_bytes(content)
    try:
        assert_clear_error(stored, place)
    finally:
        place.unlink()


def test_whatever_stands_in_a_tombstones_place_holds_up_nobody(stored):
    place = tombstone_path(stored.arrays[0])
    for make, undo in (
        (os.mkfifo, os.unlink),
        (os.mkdir, os.rmdir),
        (lambda path: os.symlink("/dev/zero", path), os.unlink),
        (lambda path: os.symlink("nowhere", path), os.unlink),
    ):
        make(place)
        try:
            assert_clear_error(stored, place)
        finally:
            undo(place)


def assert_clear_error(stored, place):
    answer = stored.get("array/full/raw/{uid}/primary/det_image", slice="0,0,0", format="application/json")
    detail = answer.json()["detail"]
    assert answer.status_code == 409
    assert detail.startswith(f"these data may be on tape: {place}: ")
    assert "\n" not in detail


def test_what_was_read_while_a_release_began_is_not_believed(tmp_path):
    """The files go after they were looked for, and before they are read."""
    frames = zarr.create_array(tmp_path / "image", shape=(4, 2), chunks=(1, 2), dtype="u2")
    frames[:] = 7
    adapter = ZARR.from_catalog(source(tmp_path / "image", frames), node())

    class Meanwhile:
        def __getitem__(self, part):
            write_tombstone(tmp_path / "image", tombstone("raw"))
            (tmp_path / "image/c/2/0").unlink()
            return frames[part]

    np.testing.assert_array_equal(adapter.read(), np.full((4, 2), 7))
    adapter._array = Meanwhile()
    with pytest.raises(HTTPException, match="run raw is on tape"):
        adapter.read()
    assert (frames[2] == 0).all(), "that is the lie which nobody was told"


def source(path, array):
    return SimpleNamespace(
        assets=[SimpleNamespace(data_uri=f"file://localhost{path}")], structure=ArrayStructure.from_array(array)
    )


def node():
    return SimpleNamespace(structure_family=StructureFamily.array, metadata_={}, specs=[])
