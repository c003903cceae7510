"""Files of an experiment that were released: every way to read them says where they are, until they are back."""

import time

import numpy as np
import pytest

from apsdm_bluesky.archive import Tombstone
from apsdm_bluesky.archive._tombstone import remove_tombstone, write_tombstone
from tests.daq.experiments import Files
from tests.daq.test_read_back import hdf5, rigaku, tiff

FRAMES = np.ones((3, 512, 1024), "u2")
CONTENT = {
    "a #1.dat": b"some bytes",
    "scan.h5": hdf5(np.ones((3, 4, 5))),
    "one.tif": tiff(np.ones((30, 40), "u2")),
    "s_1.tif": tiff(np.ones((30, 40), "u2")),
    "s_2.tif": tiff(np.full((30, 40), 2, "u2")),
    "r.bin": rigaku(FRAMES),
}
READS = {
    "a #1.dat": ("array/full/files/{}/a _1.dat", None),
    "scan.h5": ("array/full/files/{}/scan.h5/entry/data/data", "0"),
    "one.tif": ("array/full/files/{}/one.tif", None),
    "s_2.tif": ("array/full/files/{}/s_*.tif", "1"),
    "r.bin": ("array/full/files/{}/r.bin", "1"),
}


@pytest.fixture(scope="module")
def files(tiled_server):
    files = Files(tiled_server.config)
    files.deliver(tiled_server, *(files.write(name, content) for name, content in CONTENT.items()))
    return files


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("gone", [False, True])
def test_a_released_file_is_told_until_it_is_back(tiled_server, files, name, gone):
    place, run = files.data / name, "e" * 32
    route, part = READS[name]
    params = {"format": "application/octet-stream", **({} if part is None else {"slice": part})}
    with tiled_server.http() as http:
        before = http.get(f"/api/v1/{route.format(files.name)}", params=params)
        assert before.status_code == 200
        stone = Tombstone(run=run, bundles=(run,), files=1, bytes=1, released=time.time(), restore_s=60.0)
        write_tombstone(place, stone)
        if gone:
            place.unlink()
        answer = http.get(f"/api/v1/{route.format(files.name)}", params=params)
        assert answer.status_code == 409
        assert f"apsdm archive restore {run}" in answer.json()["detail"]
        if name == "s_2.tif":  # the other one is here
            assert http.get(f"/api/v1/{route.format(files.name)}", params={**params, "slice": "0"}).status_code == 200
        place.write_bytes(CONTENT[name])
        remove_tombstone(place)
        assert http.get(f"/api/v1/{route.format(files.name)}", params=params).content == before.content


def test_files_elsewhere_are_not_served(tiled_server, files, tmp_path):
    """A node that points out of the experiments' folder, and a link that does."""
    outside = tmp_path / "outside.dat"
    outside.write_bytes(b"elsewhere")
    link = files.data / "link.dat"
    link.symlink_to(outside)
    files.deliver(tiled_server, files.stored("link.dat", size=9))
    with tiled_server.http() as http:
        answer = http.get(f"/api/v1/array/full/files/{files.name}/link.dat", params={"format": "application/octet-stream"})
        assert answer.status_code == 500
        assert "elsewhere" not in answer.text
        body = {
            "id": "stolen",
            "structure_family": "container",
            "metadata": {},
            "data_sources": [
                {
                    "structure_family": "container",
                    "structure": None,
                    "mimetype": "application/x-hdf5",
                    "management": "external",
                    "assets": [
                        {"data_uri": f"file://localhost{files.data}/%2e%2e/x", "is_directory": False, "parameter": "data_uri"}
                    ],
                }
            ],
        }
        assert http.post(f"/api/v1/register/files/{files.name}", json=body).status_code == 403
