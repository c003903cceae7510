"""Raw frames as a client sees them, however they are stored: written, announced, registered and read."""

import json
import uuid

import httpx
import numpy as np
import pytest
import zarr
from event_model import compose_run
from tiled.structures.array import ArrayStructure
from tiled.structures.core import StructureFamily
from tiled.structures.data_source import Asset, DataSource, Management

from apsdm_bluesky.devices import RawStorage
from apsdm_bluesky.formats import RawWriter
from apsdm_bluesky.model import AcquisitionLedger, ConsumerLedger, FrameBatch
from apsdm_bluesky.spool._catalogue import Catalogue
from apsdm_bluesky.streaming import AcquisitionInfo

SHAPE = (40, 50)
FRAMES = np.random.default_rng(0).poisson(0.05, (60, *SHAPE)).astype("u2")
INFO = AcquisitionInfo(expected=70, frame_shape=SHAPE, dtype="uint16", period_s=0.1)
NOTHING = AcquisitionLedger(
    **dict.fromkeys(
        ("expected", "accepted", "corrupt", "missing", "updates", "duplicate", "stale", "out_of_order"), 0
    ),
    **dict.fromkeys(("base_id", "first_id", "last_id"), 0),
    gaps=(),
)


def deliver(server, documents):
    catalogue = Catalogue(server.uri, server.api_key)
    try:
        writer = catalogue.writer("raw", 1)
        for name, doc in documents:
            writer.write(name, doc)
    finally:
        catalogue.close()


def take(server, layout):
    """The uid of a run of `FRAMES`, announced as they come."""
    root = server.config.folders.raw
    storage = RawStorage("det", root / f"{uuid.uuid4()}.zarr", INFO, root=root, layout=layout)
    run = compose_run()
    stream = run.compose_descriptor(name="primary", data_keys=storage.describe())
    documents = [("start", run.start_doc), ("descriptor", stream.descriptor_doc)]

    def collect():  # as the RunEngine completes them
        for name, doc in storage.documents():
            if name == "stream_datum":
                doc["descriptor"] = stream.descriptor_doc["uid"]
                doc["seq_nums"] = {key: number + 1 for key, number in doc["indices"].items()}
            else:
                doc["run_start"] = run.start_doc["uid"]
            documents.append((name, doc))

    storage.begin(INFO)
    for start in range(0, 60, 7):
        rows = np.arange(start, min(start + 7, 60))
        storage.consume(FrameBatch(frames=FRAMES[rows], indices=rows, timestamps=rows / 8))
        collect()
    storage.end(NOTHING, ConsumerLedger(accepted=60, done=60, dropped=0))
    collect()
    assert sum(name == "stream_datum" for name, _ in documents) > 2 * len(storage.describe())
    deliver(server, [*documents, ("stop", run.compose_stop())])
    return run.start_doc["uid"]


@pytest.fixture(scope="module", params=["dense", "events", "auto"])
def run(request, tiled_server):
    return take(tiled_server, request.param)


@pytest.fixture
def stream(run, tiled_server):
    with tiled_server.client() as root:
        yield root["raw"][run]["primary"]


def test_an_array_is_an_array(stream):
    image = stream["det_image"]
    assert (image.shape, image.dtype, image.dims) == (FRAMES.shape, FRAMES.dtype, ("time", "y", "x"))
    for part in (
        5,
        -1,
        slice(10, 20),
        slice(None, None, 7),
        (slice(None), slice(10, 12), ...),
        (..., 3),
        (3, 4, 5),
        slice(30, 30),
    ):
        got = image[part]
        np.testing.assert_array_equal(got, FRAMES[part])
        assert isinstance(got, np.ndarray | np.uint16)
    np.testing.assert_array_equal(image.read_block((0, 0, 0), slice=(slice(2, 5), 7)), FRAMES[2:5, 7])
    np.testing.assert_array_equal(stream["det_frame_index"][:], np.arange(60))


def test_a_stream_reads_as_one_dataset(stream):
    np.testing.assert_array_equal(stream.read()["det_image"].values, FRAMES)


def test_plain_http_needs_no_client_of_ours(run, tiled_server):
    with tiled_server.http() as http:
        answer = http.get(
            f"/api/v1/array/full/raw/{run}/primary/det_image",
            params={"slice": "5:7,1"},
            headers={"Accept": "application/octet-stream"},
        )
        assert answer.status_code == 200
        assert answer.content == FRAMES[5:7, 1].tobytes()


def test_events_are_served_as_a_sparse_array_too(tiled_server):
    uid = take(tiled_server, "events")
    with tiled_server.client() as root:
        events = root["raw"][uid]["primary"]["det_events"]
        assert events.shape == FRAMES.shape
        np.testing.assert_array_equal(events.read().todense(), FRAMES)
        for part in ((5,), (slice(10, 20),), (slice(None), slice(10, 12)), (3, 4)):
            np.testing.assert_array_equal(events.read(slice=part).todense(), FRAMES[part])


def test_the_hashes_of_ten_thousand_shards_are_catalogued(tiled_server):
    files = [[f"2026/det.zarr/{name}/c.{n}", n, 64 * "f"] for n in range(10_000) for name in "abc"]
    run = compose_run()
    ledger = run.compose_descriptor(
        name="ledger", data_keys={"det_files": {"source": "", "dtype": "string", "shape": []}}
    )
    event = ledger.compose_event(data={"det_files": json.dumps(files)}, timestamps={"det_files": 0.0})
    descriptor = ("descriptor", ledger.descriptor_doc)
    deliver(
        tiled_server, [("start", run.start_doc), descriptor, ("event", event), ("stop", run.compose_stop())]
    )
    with tiled_server.client() as root:
        (told,) = root["raw"][run.start_doc["uid"]]["ledger"].read()["det_files"].values
    assert json.loads(told) == files


# -- files that are not what they should be --


def write(server, expected=20):
    path = server.config.folders.raw / f"{uuid.uuid4()}.zarr"
    writer = RawWriter(path, frame_shape=SHAPE, dtype="u2", expected=expected, layout="events")
    writer.append(FrameBatch(frames=FRAMES[:20], indices=np.arange(20), timestamps=np.arange(20.0)))
    writer.close()
    return path / "image"


def register(server, path, *, shape=(20, *SHAPE), dtype="u2", mimetype="events"):
    """The key of a node for the store `path`, as anybody who may write could make it."""
    source = DataSource(
        structure_family=StructureFamily.array,
        structure=ArrayStructure.from_array(np.broadcast_to(np.zeros((), dtype), shape)),
        mimetype=f"application/x-zarr;structure={mimetype}",
        management=Management.external,
        assets=[Asset(data_uri=f"file://localhost{path}", is_directory=True, parameter="data_uris", num=0)],
    )
    key = str(uuid.uuid4())
    with server.client() as root:
        root.new(structure_family="array", data_sources=[source], key=key, metadata={}, specs=[])
    return key


def read(server, key, part="::,::,::"):
    with server.http() as http:
        answer = http.get(
            f"/api/v1/array/full/{key}",
            params={"slice": part},
            headers={"Accept": "application/octet-stream"},
        )
    with server.http() as http:  # the server lives, whatever became of that connection
        assert http.get("/healthz").status_code == 200
    return answer


def test_what_is_registered_is_read(tiled_server):
    answer = read(tiled_server, register(tiled_server, write(tiled_server)))
    assert answer.content == FRAMES[:20].tobytes()


def remove(image):
    (image / "zarr.json").unlink()


def cut(image):
    (image / "events/c.0").write_bytes((image / "events/c.0").read_bytes()[:100])


@pytest.mark.parametrize("damage", [remove, cut])
def test_damaged_files_are_an_error_of_the_request(tiled_server, damage):
    image = write(tiled_server)
    key = register(tiled_server, image)
    damage(image)
    answer = read(tiled_server, key)
    assert answer.status_code == 500
    assert "these data cannot be read" in answer.json()["detail"]


@pytest.mark.parametrize("wrong", [{"shape": (20, 50, 40)}, {"shape": (21, *SHAPE)}, {"dtype": "f8"}])
def test_a_structure_that_is_not_the_stored_one_is_an_error_of_the_request(tiled_server, wrong):
    answer = read(tiled_server, register(tiled_server, write(tiled_server), **wrong))
    assert answer.status_code == 500
    assert "registered is" in answer.json()["detail"]


def test_an_answer_that_is_too_large_is_refused_before_it_is_made(tiled_server):
    path = tiled_server.config.folders.raw / f"{uuid.uuid4()}.zarr"
    writer = RawWriter(path, frame_shape=(4096, 4096), dtype="u4", expected=5000, layout="events")
    writer.append(
        FrameBatch(frames=np.zeros((1, 4096, 4096), "u4"), indices=np.zeros(1, "i8"), timestamps=np.zeros(1))
    )
    writer.abandon()
    zarr.open_array(path / "image/spans").resize((5000, 2))  # as one that was killed
    key = register(tiled_server, path / "image", shape=(5000, 4096, 4096), dtype="u4")
    answer = read(tiled_server, key)
    assert answer.status_code == 400
    assert "300 MB" in answer.json()["detail"]


def test_rows_that_are_only_claimed_are_refused_or_not_read(tiled_server):
    image = write(tiled_server)
    zarr.open_array(image / "spans").resize((10**9, 2))
    key = register(tiled_server, image, shape=(10**9, *SHAPE))
    answer = read(tiled_server, key, "::,0,0")
    assert answer.status_code == 400
    assert "a million frames" in answer.json()["detail"]
    assert read(tiled_server, key, "5:7,1,2").content == FRAMES[5:7, 1, 2].tobytes()


@pytest.mark.parametrize("mimetype", ["events", "sparse"])
def test_a_store_outside_of_the_raw_folder_is_not_read(tiled_server, mimetype):
    outside = write(tiled_server).rename(tiled_server.config.folders.root / f"outside-{uuid.uuid4()}")
    answer = read(tiled_server, register(tiled_server, outside, mimetype=mimetype))
    assert answer.status_code >= 400
    with pytest.raises(httpx.HTTPStatusError, match=r"\.\."):
        register(tiled_server, tiled_server.config.folders.raw / ".." / outside.name, mimetype=mimetype)
