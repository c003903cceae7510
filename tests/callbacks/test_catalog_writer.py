"""Runs of a real RunEngine through the spool into a real Tiled server, and back by every way."""

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
import pytest
import zarr
from bluesky import RunEngine
from bluesky_tiled_plugins import subscribe_to_streams
from databroker.client import CatalogOfBlueskyRuns
from event_model import compose_stream_resource
from ophyd import Device, Signal, Staged, StatusBase
from ophyd.sim import SynAxis, SynGauss

from apsdm_bluesky.callbacks import CatalogWriter
from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.spool import Delivery, Spool
from tests.waiting import wait_for


class Image(Signal):
    """A detector without `dtype_numpy` in its description: integers beyond 2**53 must survive."""

    def __init__(self, shape, dtype, **kwargs):
        super().__init__(value=np.zeros(shape, dtype), **kwargs)
        self.taken = []
        self._random = np.random.default_rng(1)

    def trigger(self):
        info = np.iinfo(self._readback.dtype)
        self.put(
            self._random.integers(
                info.min, info.max, self._readback.shape, self._readback.dtype, endpoint=True
            )
        )
        self.taken.append(self._readback)
        return super().trigger()


class ZarrFlyer(Device):
    """Writes frames to Zarr in batches, and scalars beside them."""

    def __init__(self, folder, **kwargs):
        super().__init__("", **kwargs)
        self.frames = np.random.default_rng(2).integers(0, 2**16, (6, 5, 7), dtype="u2")
        self._path = folder / "frames.zarr"

    def kickoff(self):
        self._array = zarr.create_array(self._path, shape=self.frames.shape, chunks=(2, 5, 7), dtype="u2")
        self._resource, self._compose_datum = compose_stream_resource(
            mimetype="application/x-zarr",
            uri=f"file://localhost{self._path}",
            data_key=f"{self.name}_image",
            parameters={"chunk_shape": [2]},
        )
        self._sent = 0
        return finished()

    def complete(self):
        return finished()

    def describe_collect(self):
        image = {"source": "sim", "dtype": "array", "shape": [5, 7], "dims": ["y", "x"], "dtype_numpy": "<u2"}
        return {
            f"{self.name}_image": {**image, "external": "STREAM:"},
            f"{self.name}_total": {"source": "sim", "dtype": "integer", "shape": [], "dtype_numpy": "<i8"},
        }

    def collect_asset_docs(self):
        if self._sent == 0:
            yield "stream_resource", self._resource
        start, stop = self._sent, self._sent + 2
        self._array[start:stop] = self.frames[start:stop]
        yield "stream_datum", self._compose_datum({"start": start, "stop": stop})

    def collect_pages(self):
        start, stop = self._sent, self._sent + 2
        self._sent = stop
        totals = [int(frame.sum()) for frame in self.frames[start:stop]]
        key = f"{self.name}_total"
        yield {"data": {key: totals}, "timestamps": {key: [1.0] * 2}, "time": [1.0] * 2}

    def stage(self):
        self._staged = Staged.yes
        return [self]


def finished():
    status = StatusBase()
    status.set_finished()
    status.wait(1)
    return status


@bpp.run_decorator(md={"purpose": "fly"})
def fly(flyer):
    yield from bps.stage(flyer)
    yield from bps.declare_stream(flyer, name="primary", collect=True)
    yield from bps.kickoff(flyer, wait=True)
    for _ in range(3):
        yield from bps.collect(flyer, name="primary")
    yield from bps.complete(flyer, wait=True)


@pytest.fixture
def session(tmp_path):
    session = Spool(tmp_path / "spool").open_session()
    yield session
    session.close()


@pytest.fixture
def delivery(tiled_server, session):
    delivery = Delivery(session, tiled_server.uri, tiled_server.api_key)
    delivery.start()
    yield delivery
    delivery.close(0)


@pytest.fixture
def engine(session, delivery):
    engine = RunEngine()
    engine.subscribe(CatalogWriter(session, delivery))
    yield engine
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join(5)
    engine.loop.close()


@pytest.fixture
def scan(engine, delivery):
    """A step scan over a numpy-heavy detector: its uid, the detectors, their documents."""
    motor = SynAxis(name="motor")
    gauss = SynGauss("gauss", motor, "motor", center=0, Imax=1)
    big = Image((40, 30), "i8", name="big")
    small = Image((2, 3), "u2", name="small")
    documents = []
    engine.subscribe(lambda name, doc: documents.append((name, doc)))
    metadata = {"vector": np.arange(3), "threshold": np.float32(0.5)}
    (uid,) = engine(bp.scan([gauss, big, small], motor, -1, 1, 4, md=metadata))
    assert delivery.wait_idle(60)
    return uid, big, small, documents


def expected(documents, key):
    return [doc["data"][key] for name, doc in documents if name == "event"]


def equal(left, right):
    left, right = np.asarray(left), np.asarray(right)
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


def test_a_step_scan_reads_back_equal_through_tiled(tiled_server, scan):
    uid, big, small, documents = scan
    with tiled_server.client() as root:
        run = root["raw"][uid]
        assert run.metadata["start"]["vector"] == [0, 1, 2]
        assert run.metadata["start"]["threshold"] == 0.5
        stream = run["primary"]
        assert equal(stream["big"].read(), big.taken)
        assert equal(stream["small"].read(), small.taken)
        assert equal(stream["gauss"].read(), expected(documents, "gauss"))
        assert equal(stream["motor"].read(), expected(documents, "motor"))
        data = stream.read()
        assert equal(data["big"].values, big.taken)


def test_a_step_scan_reads_back_equal_through_databroker(tiled_server, scan):
    uid, big, small, _ = scan
    with tiled_server.client() as root:
        catalog = root["raw"]
        assert isinstance(catalog, CatalogOfBlueskyRuns)
        run = catalog[-1]
        assert run.metadata["start"]["uid"] == uid
        assert catalog[run.metadata["start"]["scan_id"]] is not None
        assert equal(run["primary"]["big"].read(), big.taken)
        assert equal(run["primary"]["small"].read(), small.taken)


def test_a_step_scan_reads_back_equal_over_http(tiled_server, scan):
    uid, big, _, documents = scan
    with tiled_server.http() as http:
        metadata = http.get(f"/api/v1/metadata/raw/{uid}").json()["data"]["attributes"]["metadata"]
        assert metadata["stop"]["num_events"] == {"primary": 4}
        raw = http.get(
            f"/api/v1/array/full/raw/{uid}/primary/big", headers={"Accept": "application/octet-stream"}
        )
        assert raw.content == np.array(big.taken).tobytes()
        table = http.get(
            f"/api/v1/table/full/raw/{uid}/primary/internal", params={"format": "application/json"}
        )
        assert table.json()["gauss"] == expected(documents, "gauss")


def test_the_documents_come_back(tiled_server, scan):
    uid, _, _, documents = scan
    with tiled_server.client() as root:
        back = list(root["raw"][uid].documents())
    assert [name for name, _ in back] == ["start", "descriptor", *["event"] * 4, "stop"]
    assert back[0][1]["uid"] == uid
    for (_, doc), (_, original) in zip(back[2:-1], documents[2:-1], strict=True):
        assert doc["seq_num"] == original["seq_num"]
        assert doc["data"]["motor"] == original["data"]["motor"]
        assert np.array_equal(np.array(doc["data"]["big"], "i8"), original["data"]["big"])


def test_external_frames_read_back_equal(tiled_server, engine, delivery):
    folder = tiled_server.config.folders.raw / "flyer"
    folder.mkdir()
    flyer = ZarrFlyer(folder, name="flyer")
    (uid,) = engine(fly(flyer))
    assert delivery.wait_idle(60)
    totals = flyer.frames.sum(axis=(1, 2), dtype="i8")
    with tiled_server.client() as root:
        data = root["raw"][uid]["primary"].read()
        assert equal(data["flyer_image"].values, flyer.frames)
        assert data["flyer_image"].dims[1:] == ("y", "x")
        assert equal(data["flyer_total"].values, totals)
        assert equal(root["raw"][uid]["primary"]["flyer_image"].read(), flyer.frames)
        names = [name for name, _ in root["raw"][uid].documents()]
    assert names.count("stream_resource") == 1
    assert "stream_datum" in names
    with tiled_server.http() as http:
        raw = http.get(
            f"/api/v1/array/full/raw/{uid}/primary/flyer_image",
            headers={"Accept": "application/octet-stream"},
        )
    assert raw.content == flyer.frames.tobytes()


def test_events_are_seen_live(tiled_server, engine, session, delivery):
    motor = SynAxis(name="motor")
    seen = {}

    def look(name, doc):
        if name == "event" and doc["seq_num"] == 3:
            assert delivery.wait_idle(60)
            (run,) = session.runs()
            with tiled_server.client() as root:
                node = root["raw"][run.uid]
                seen.update(stop=node.metadata.get("stop"), values=node["primary"]["motor"].read().tolist())

    engine.subscribe(look)
    engine(bp.scan([], motor, 0, 3, 4))
    assert seen == {"stop": None, "values": [0.0, 1.0, 2.0]}


# Tiled 0.2.20 calls websockets in the way that websockets 17 deprecates.
@pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context manager:DeprecationWarning")
def test_a_live_subscription_brings_the_events(tiled_server, engine, delivery):
    motor = SynAxis(name="motor")
    engine(bp.scan([], motor, 0, 1, 1))  # makes /raw, if no other test has
    assert delivery.wait_idle(60)
    values = []

    def take(update):
        values.extend(update.data()["motor"].tolist())

    def watched(start):
        return start.get("purpose") == "watched"

    with (
        tiled_server.client() as root,
        subscribe_to_streams(root["raw"], take, streams={"primary": ["motor"]}, metadata_filter=watched),
    ):
        engine(bp.scan([], motor, 0, 3, 4, md={"purpose": "watched"}))
        wait_for(lambda: len(values) >= 4, 60, "four live updates")
    assert values == [0.0, 1.0, 2.0, 3.0]


def test_without_a_server_the_run_is_complete_on_disk(session):
    delivery = Delivery(session, "http://127.0.0.1:9", "key")
    delivery.start()
    engine = RunEngine()
    engine.subscribe(CatalogWriter(session, delivery))
    motor = SynAxis(name="motor")
    (uid,) = engine(bp.scan([], motor, 0, 1, 10))
    (run,) = session.runs()
    assert run.uid == uid
    assert [name for name, _ in run.documents()] == ["start", "descriptor", *["event"] * 10, "stop"]
    assert delivery.pending == 1
    delivery.close(0)


def test_a_document_that_cannot_be_stored_aborts_the_run(session):
    engine = RunEngine()
    engine.subscribe(CatalogWriter(session, None))
    strange = Signal(name="strange", value=1)
    strange.read = lambda: {"strange": {"value": object(), "timestamp": 1.0}}
    with pytest.raises(FormatError, match=r"strange: a object cannot be stored"):
        engine(bp.count([strange], 1))
    (run,) = session.runs()
    assert run.stop is not None
    assert run.stop["exit_status"] == "fail"
