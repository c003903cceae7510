"""Files of each kind, read back over HTTP."""

import io

import h5py
import hdf5plugin
import numpy as np
import pytest
import tifffile

from tests.daq.experiments import Files

RNG = np.random.default_rng(3)


@pytest.fixture
def files(tiled_server):
    return Files(tiled_server.config)


@pytest.fixture
def root(tiled_server):
    with tiled_server.client() as root:
        yield root


def hdf5(image, **options):
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.create_dataset("entry/data/data", data=image, chunks=(1, *image.shape[1:]), **options)
        file["entry"].attrs["NX_class"] = np.bytes_("NXentry")
        file["entry/data"].attrs["signal"] = "data"
        file["entry/name"] = "a sample"
    return content.getvalue()


def tiff(image, **options):
    content = io.BytesIO()
    tifffile.imwrite(content, image, **options)
    return content.getvalue()


def rigaku(frames, flip=0):
    n, y, x = np.nonzero(frames)
    words = n.astype("<u8") << np.uint64(40) | (y * 1024 + x).astype("<u8") << np.uint64(16)
    return (words | frames[n, y, x].astype("<u8") | np.uint64(flip << 36)).tobytes()


@pytest.mark.parametrize("size", [0, 1, 1000, 40_000_001])
def test_any_file_is_its_bytes(tiled_server, files, root, size):
    content = RNG.bytes(size)
    files.deliver(tiled_server, files.write("a folder/x.dat", content))
    node = root["files"][files.name]["a folder"]["x.dat"]
    assert (node.shape, node.dtype) == ((size,), np.dtype("u1"))
    assert node.read().tobytes() == content
    for part in (slice(5, 50), slice(900, 10, -7), slice(None, None, 999), slice(-3, None)):
        assert node[part].tobytes() == content[part]
    if size:
        assert int(node[size - 1]) == content[-1]
    told = dict(node.metadata)
    assert told.pop("run")
    assert told.pop("modified") > 1e9
    assert told == {
        "experiment": files.name,
        "station": "simulated",
        "beamline": "test",
        "daq": files.daq.id,
        "owner": "eva",
        "path": "a folder/x.dat",
        "size": size,
        "sha256": files.stored("a folder/x.dat").sha256,
        "version": 1,
    }


def test_bytes_over_plain_http(tiled_server, files):
    content = RNG.bytes(5000)
    files.deliver(tiled_server, files.write("x.dat", content))
    with tiled_server.http() as http:
        path = f"/api/v1/array/full/files/{files.name}/x.dat"
        answer = http.get(path, params={"format": "application/octet-stream"})
        assert (answer.status_code, answer.content) == (200, content)
        answer = http.get(path, params={"format": "application/octet-stream", "slice": "100:200"})
        assert answer.content == content[100:200]
    with tiled_server.http(anonymous=True) as http:
        assert http.get(path).status_code == 401


@pytest.mark.parametrize("options", [{}, hdf5plugin.Bitshuffle(cname="lz4"), {"compression": "gzip"}])
def test_an_hdf5_file_is_a_tree(tiled_server, files, root, options):
    image = RNG.poisson(3, (5, 20, 30)).astype("u4")
    files.deliver(tiled_server, files.write("scan.h5", hdf5(image, **options)))
    node = root["files"][files.name]["scan.h5"]
    assert list(node) == ["entry"]
    assert sorted(node["entry"]) == ["data", "name"]
    data = node["entry"]["data"]["data"]
    assert (data.shape, data.dtype) == (image.shape, image.dtype)
    np.testing.assert_array_equal(data.read(), image)
    np.testing.assert_array_equal(data[2, 3:7], image[2, 3:7])
    assert node["entry"].metadata["NX_class"] == "NXentry"
    assert node["entry/data"].metadata["signal"] == "data"
    assert node.metadata["path"] == "scan.h5"
    np.testing.assert_array_equal(root["files", files.name, "scan.h5", "entry", "data", "data"].read(), image)


def test_a_broken_hdf5_or_tiff_is_bytes_and_says_why(tiled_server, files, root):
    whole = {"a.h5": hdf5(np.ones((2, 3, 4))), "b.tif": tiff(np.ones((300, 400), "u2"))}
    broken = {name: content[: len(content) // 2] for name, content in whole.items()}
    broken |= {"c.nxs": b"no HDF5", "d.tiff": b"no TIFF", "e_1.tif": b"", "f.h5": b""}
    files.deliver(tiled_server, *(files.write(name, content) for name, content in broken.items()))
    for name, content in broken.items():
        node = root["files"][files.name][name]
        assert node.read().tobytes() == content
        assert ("unreadable" in node.metadata) == bool(content), name
        assert str(files.data) not in str(node.metadata.get("unreadable"))


def test_a_tiff_is_an_image(tiled_server, files, root):
    images = {
        "one.tif": RNG.integers(0, 1000, (30, 40), "u2"),
        "big-endian.TIFF": RNG.integers(0, 1000, (30, 40), "u2").astype(">u2"),
        "float.tif": RNG.normal(size=(5, 6)).astype("f4"),
        "colour.tif": RNG.integers(0, 255, (30, 40, 3), "u1"),
        "pages.tif": RNG.integers(0, 255, (4, 30, 40), "u1"),
    }
    options = {
        "big-endian.TIFF": {"byteorder": ">"},
        "one.tif": {"compression": "zlib"},
        "colour.tif": {"photometric": "rgb"},
        "pages.tif": {"photometric": "minisblack"},
    }
    files.deliver(
        tiled_server,
        *(files.write(name, tiff(each, **options.get(name, {}))) for name, each in images.items()),
    )
    for name, image in images.items():
        node = root["files"][files.name][name]
        assert node.shape == image.shape
        np.testing.assert_array_equal(node.read(), image)
        np.testing.assert_array_equal(node[2:4, 1], image[2:4, 1])


def test_numbered_tiffs_are_one_array(tiled_server, files, root):
    images = RNG.integers(0, 1000, (40, 30, 40), "u2")
    batches = [range(5, 12), [20], range(3), [30, 31, 32]]
    for batch in batches:
        written = [files.write(f"a/scan_{n:04d}.tif", tiff(images[n])) for n in batch]
        files.deliver(tiled_server, *written)
    numbers = sorted(n for batch in batches for n in batch)
    folder = root["files"][files.name]["a"]
    assert list(folder) == ["scan_*.tif"]
    node = folder["scan_*.tif"]
    assert node.shape == (len(numbers), 30, 40)
    np.testing.assert_array_equal(node.read(), images[numbers])
    np.testing.assert_array_equal(node[3], images[numbers[3]])
    np.testing.assert_array_equal(node[-2:, 4, ::3], images[numbers][-2:, 4, ::3])
    np.testing.assert_array_equal(node.read_block((0, 0, 0)), images[numbers])
    assert node.metadata["numbers"] == [[0, 2], [5, 11], [20, 20], [30, 32]]
    assert node.metadata["files"] == len(numbers)
    assert len(node.metadata["runs"]) == 4
    assert node.metadata["path"] == "a/scan_*.tif"


def test_a_series_begins_with_the_second_file(tiled_server, files, root):
    images = RNG.integers(0, 1000, (4, 3, 4), "u2")
    files.deliver(tiled_server, files.write("1.tif", tiff(images[1])))
    assert list(root["files"][files.name]) == ["1.tif"]
    files.deliver(tiled_server, files.write("2.tif", tiff(images[2])), files.write("x9.tif", tiff(images[3])))
    assert sorted(root["files"][files.name]) == ["*.tif", "x9.tif"]
    node = root["files"][files.name]["*.tif"]
    np.testing.assert_array_equal(node.read(), images[1:3])
    assert node.metadata["size"] == sum(path.stat().st_size for path in files.data.glob("?.tif"))
    assert len(node.metadata["runs"]) == 2


def test_what_does_not_fit_a_series_is_on_its_own(tiled_server, files, root):
    image = np.arange(12, dtype="u2").reshape(3, 4)
    written = [
        files.write(name, tiff(each))
        for name, each in {
            "s1.tif": image,
            "s2.tif": image.T,
            "s3.tif": image + 1,
            "s4.tif": image.astype("f4"),
            "s03.tif": image + 2,
            "s99999999999.tif": image,
            "s5.tiff": image,
        }.items()
    ]
    files.write("s6.v2.tif", tiff(image + 7))
    written += [files.stored("s6.v2.tif", version=2)]
    written += [files.write("s7.tif", b"broken")]
    files.deliver(tiled_server, *written)
    found = root["files"][files.name]
    alone = {"s2.tif", "s4.tif", "s03.tif", "s99999999999.tif", "s5.tiff", "s6.v2.tif", "s7.tif"}
    assert set(found) == {"s*.tif"} | alone
    np.testing.assert_array_equal(found["s*.tif"].read(), [image, image + 1])
    assert found["s6.v2.tif"].metadata["version"] == 2
    files.deliver(tiled_server, *written)
    assert set(found) == {"s*.tif"} | alone


@pytest.mark.parametrize("flip", [0, 1])
def test_a_rigaku_file_is_its_frames(tiled_server, files, root, flip):
    frames = RNG.poisson(0.01, (70, 512, 1024)).astype("u2")
    frames[11] = 0
    files.deliver(tiled_server, files.write("r.bin", rigaku(frames, flip)), files.write("o.bin", bytes(80)))
    node = root["files"][files.name]["r.bin"]
    assert (node.shape, node.dtype) == (frames.shape, frames.dtype)
    np.testing.assert_array_equal(node[9:13], frames[9:13])
    np.testing.assert_array_equal(node[69, :, 5], frames[69, :, 5])
    np.testing.assert_array_equal(node.read(), frames)
    other = root["files"][files.name]["o.bin"]
    assert (other.shape, other.read().tobytes()) == ((80,), bytes(80))


def test_a_file_that_was_cut_short_is_a_clear_error(tiled_server, files, root):
    image = np.ones((3, 4, 5))
    written = {
        "a.dat": RNG.bytes(100),
        "b.h5": hdf5(image),
        "c.tif": tiff(np.ones((30, 40))),
        "d.bin": rigaku(np.ones((3, 512, 1024), "u2")),
    }
    files.deliver(tiled_server, *(files.write(name, content) for name, content in written.items()))
    for name, content in written.items():
        (files.data / name).write_bytes(content[: len(content) // 3])
    with tiled_server.http() as http:
        for name in ("a.dat", "b.h5/entry/data/data", "c.tif", "d.bin"):
            path = f"/api/v1/array/full/files/{files.name}/{name}"
            answer = http.get(path, params={"format": "application/octet-stream"})
            assert answer.status_code == 500
            assert "cannot be read" in answer.json()["detail"]


def test_answers_are_limited(tiled_server, files):
    with (files.data / "big.dat").open("wb") as file:
        file.truncate(2**40)
    files.deliver(tiled_server, files.stored_without_reading("big.dat"))
    with tiled_server.http() as http:
        path = f"/api/v1/array/full/files/{files.name}/big.dat"
        for part, code in ((":", 400), (f"{2**39}:{2**39 + 9}", 200), (f"::{2**30}", 400)):
            answer = http.get(path, params={"format": "application/octet-stream", "slice": part})
            assert answer.status_code == code, answer.text


def test_what_an_hdf5_file_points_at_elsewhere_is_not_read(tiled_server, files, root):
    """Otherwise who may upload reads whatever the server can, its key too."""
    secret = tiled_server.config.folders.catalog / "api_key"
    outside = tiled_server.config.folders.root / "outside.h5"
    with h5py.File(outside, "w") as file:
        file["x"] = [1, 2]
    sub = files.data / "sub"
    sub.mkdir()
    with h5py.File(sub / "part.h5", "w") as file:
        file["x"] = [3, 4]
        file.create_dataset("stolen", (16,), "u1", external=[(str(secret), 0, 16)])
    with h5py.File(sub / "master.h5", "w") as file:
        file["good"] = [1.5]
        file["part"] = h5py.ExternalLink("part.h5", "x")
        file["outside"] = h5py.ExternalLink("../../../../outside.h5", "x")
        file["absolute"] = h5py.ExternalLink(str(outside), "x")
        file["gone"] = h5py.SoftLink("/nowhere")
        file["round"] = h5py.SoftLink("/")
        file["nothing"] = h5py.Empty("f4")
        file.create_dataset("stolen", (16,), "u1", external=[(str(secret), 0, 16)])
        file["stolen too"] = h5py.ExternalLink("part.h5", "stolen")
        for name, source in (("virtual", "part.h5"), ("virtual outside", str(outside))):
            layout = h5py.VirtualLayout((2,), "i8")
            layout[:] = h5py.VirtualSource(source, "x", (2,))
            file.create_virtual_dataset(name, layout)
        layout = h5py.VirtualLayout((16,), "u1")
        layout[:] = h5py.VirtualSource("part.h5", "stolen", (16,))
        file.create_virtual_dataset("virtual stolen", layout)
    files.deliver(tiled_server, files.stored("sub/part.h5"), files.stored("sub/master.h5"))
    node = root["files"][files.name]["sub"]["master.h5"]
    np.testing.assert_array_equal(node["good"].read(), [1.5])
    np.testing.assert_array_equal(node["part"].read(), [3, 4])
    np.testing.assert_array_equal(node["virtual"].read(), [3, 4])
    assert len(list(node)) == 12
    refused = {"outside", "absolute", "gone", "round", "nothing", "stolen", "stolen too"}
    refused |= {"virtual outside", "virtual stolen"}
    with tiled_server.http() as http:
        for name in refused:
            path = f"/api/v1/array/full/files/{files.name}/sub/master.h5/{name}"
            answer = http.get(path, params={"format": "application/octet-stream"})
            assert answer.status_code == 410, name
        for route in ("search", "metadata", "container/full"):
            answer = http.get(f"/api/v1/{route}/files/{files.name}/sub/master.h5", params={"format": "json"})
            assert answer.status_code == 200
            assert "good" in answer.text or route != "search"
    with pytest.raises(KeyError, match="Unable to open"):
        node["stolen"].read()
