"""Analysis runs exported as result files by a real server, which tells what has no result."""

import io
import uuid

import h5py
import httpx
import numpy as np
import pytest
from pyxpcsviewer import XpcsFile

from apsdm_bluesky.callbacks._analysis_run import AnalysisRun
from apsdm_bluesky.spool._catalogue import Catalogue
from tests.formats.xpcs_records import FRAMES, PLACED, QMAP, record, two_time

PLAIN = record()
START = {
    "purpose": "xpcs",
    "scan_id": 17,
    "sample": "silica",
    "detector": "det",
    "frame_period_s": 0.002,
    "software": {"apsdm-bluesky": "0.1.0"},
    "configuration": {"delays_per_level": 4, "qmap": {"center": [19.5, 14.25]}},
}
KEYS = ("delays", "levels", "pairs", "g2", "g2_err", "saxs", "sum_image", "frame_index", "total")
PRIMARY = {
    "frames": FRAMES,
    **{key: getattr(PLAIN, key) for key in KEYS},
    "gamma": PLAIN.fit["gamma"],
    "diffusion": 0.25,
    "result_sha256": PLAIN.result_sha256,
}
LEDGER = {"expected": 51, "accepted": FRAMES, "missing": 1, "gaps": "[[5, 1]]", "reason": ""}


def bins(qmap):
    return {
        "mask": (qmap.dynamic > 0).astype("u1"),
        "dynamic_map": qmap.dynamic,
        "static_map": qmap.static,
        "q": qmap.q,
        "static_q": qmap.static_q,
        "q_unit": qmap.unit,
    }


def deliver(server, container, documents):
    catalogue = Catalogue(server.uri, server.api_key)
    try:
        writer = catalogue.writer(container, 1)
        for name, doc in documents:
            writer.write(name, doc)
    finally:
        catalogue.close()


def analysis(server, streams=None, start=None, ending=("success",)):
    """Deliver an analysis run; its uid. No ending: it goes on."""
    documents = []
    run = AnalysisRun(
        lambda *document: documents.append(document), {"raw_uid": "gone", **START, **(start or {})}
    )
    streams = {"qmap": bins(QMAP), "primary": PRIMARY, "ledger": LEDGER} if streams is None else streams
    for name, data in streams.items():
        for event in data if isinstance(data, list) else [data]:
            run.event(name, event)
    if ending:
        run.close(*ending)
    deliver(server, "processed", documents)
    return run.uid


def raw_run(server):
    """A raw run of which only the metadata are there: nothing of it can be read."""
    uid, descriptor = str(uuid.uuid4()), str(uuid.uuid4())
    configuration = {"data": {"det_cam_acquire_time": 0.0015}, "timestamps": {}, "data_keys": {}}
    deliver(
        server,
        "raw",
        [
            ("start", {"uid": uid, "time": 1772352000.0, "scan_id": 17, "energy_kev": 8.0}),
            (
                "descriptor",
                {
                    "uid": descriptor,
                    "run_start": uid,
                    "time": 1772352001.0,
                    "name": "primary",
                    "data_keys": {"det_frame_index": {"source": "", "dtype": "integer", "shape": []}},
                    "configuration": {"det": configuration},
                    "object_keys": {"det": ["det_frame_index"]},
                    "hints": {},
                },
            ),
            (
                "stop",
                {"uid": str(uuid.uuid4()), "run_start": uid, "time": 1772352060.0, "exit_status": "success"},
            ),
        ],
    )
    return uid


def exported(server, uid, form="xpcs", container="processed", **more):
    with server.http() as client:
        return client.get(f"/api/v1/container/full/{container}/{uid}", params={"format": form, **more})


@pytest.fixture(scope="module")
def result(tiled_server):
    return analysis(tiled_server, start={"raw_uid": raw_run(tiled_server)})


@pytest.mark.parametrize("form", ["xpcs", "application/x-xpcs-hdf5", "h5"])
def test_a_result_is_exported_in_every_name_of_the_format(tiled_server, result, form):
    answer = exported(tiled_server, result, form)
    assert answer.status_code == 200, answer.text
    with h5py.File(io.BytesIO(answer.content)) as file:
        for key in ("g2", "g2_derr"):
            np.testing.assert_array_equal(file["entry/data"][key], getattr(PLAIN, key.replace("derr", "err")))
        np.testing.assert_array_equal(file["entry/data/frame_sum"], PLAIN.sum_image)


def test_the_facts_of_both_runs_are_in_it(tiled_server, result):
    with h5py.File(io.BytesIO(exported(tiled_server, result).content)) as file:
        entry = file["entry"]
        assert entry["start_time"][()] == b"2026-03-01T08:00:00.000000+00:00"
        assert entry["end_time"][()] == b"2026-03-01T08:01:00.000000+00:00"
        assert entry["instrument/detector_1/count_time"][()] == 0.0015
        assert entry["instrument/detector_1/frame_time"][()] == 0.002
        assert entry["instrument/incident_beam/incident_energy"][()] == 8.0
        assert entry["instrument/bluesky/metadata/result_uid"][()].decode() == result
        assert entry["scan_number"][()] == 17
        assert entry["ledger/missing"][()] == 1
        assert entry["ledger/gaps"][()] == b"[[5, 1]]"
        np.testing.assert_array_equal(file["process/fit/gamma"], PLAIN.fit["gamma"])


def test_the_python_client_exports_a_file_for_pyxpcsviewer(tiled_server, result, tmp_path):
    path = tmp_path / "run_results.hdf"
    with tiled_server.client() as root:
        assert "application/x-xpcs-hdf5" in root["processed"][result].formats
        root["processed"][result].export(str(path), format="xpcs")
    seen = XpcsFile(str(path))
    np.testing.assert_array_equal(seen.g2, PLAIN.g2)
    np.testing.assert_array_equal(seen.dqmap, QMAP.dynamic)
    np.testing.assert_array_equal(seen.Int_t[1], PLAIN.total)
    assert (seen.bcx, seen.bcy, seen.X_energy) == (19.5, 14.25, 8.0)


def test_geometry_azimuth_and_two_time_maps_are_in_it(tiled_server, tmp_path):
    place, maps, full = PLACED.geometry, two_time(), record(PLACED)
    angles = {"phi": PLACED.phi, "static_phi": PLACED.static_phi}
    lengths = {key: getattr(place, key) for key in ("distance_m", "energy_kev", "pixel_size_m")}
    primary = {**PRIMARY, **{key: getattr(full, key) for key in KEYS}}
    streams = {
        "qmap": {**bins(PLACED), **angles, **lengths, "center": np.array(place.center)},
        "primary": primary,
        "two_time": {"bins": maps.bins, "c2": maps.c2, "width": maps.width},
    }
    uid = analysis(tiled_server, streams)
    path = tmp_path / "full_results.hdf"
    path.write_bytes(exported(tiled_server, uid).content)
    seen = XpcsFile(str(path))
    assert (seen.det_dist, seen.X_energy, seen.bcy) == (place.distance_m, place.energy_kev, 14.25)
    np.testing.assert_array_equal(seen.dynamic_num_pts, [2, 4])
    np.testing.assert_allclose(seen.get_twotime_c2(selection=1, correct_diag=False)["c2_mat"], maps.c2[1])


def test_without_its_raw_run_a_result_lacks_the_times_only(tiled_server):
    start = {"configuration": {"qmap": {"file": "map.h5"}}}
    with h5py.File(io.BytesIO(exported(tiled_server, analysis(tiled_server, start=start)).content)) as file:
        assert file["entry/start_time"][()] == b""
        assert np.isnan(file["entry/instrument/detector_1/count_time"][()])
        assert np.isnan(file["entry/instrument/detector_1/beam_center_x"][()])
        np.testing.assert_array_equal(file["entry/data/g2"], PLAIN.g2)


@pytest.mark.parametrize(
    ("streams", "ending", "told"),
    [
        ({"ledger": LEDGER}, ("fail", "no frame came"), "'fail' (no frame came)"),
        ({"ledger": LEDGER}, (), "has not ended"),
        ({"primary": {"frames": FRAMES}}, ("success",), "no stream 'qmap'"),
        ({"qmap": {"q": QMAP.q}, "primary": [{"frames": 1}, {"frames": 2}]}, ("success",), "has 2 events"),
        (
            {"qmap": bins(QMAP), "primary": PRIMARY | {"g2": np.ones((9, 3))}},
            ("success",),
            "g2 has shape (9, 3)",
        ),
    ],
    ids=["failed", "running", "no q-map", "two results", "wrong shape"],
)
def test_a_run_without_a_sound_result_is_told(tiled_server, streams, ending, told):
    uid = analysis(tiled_server, streams, ending=ending)
    answer = exported(tiled_server, uid)
    assert answer.status_code == httpx.codes.NOT_ACCEPTABLE
    assert f"run {uid}: " in answer.json()["detail"]
    assert told in answer.json()["detail"]


def test_a_part_of_a_result_is_told(tiled_server, result):
    answer = exported(tiled_server, result, field="ledger")
    assert answer.status_code == httpx.codes.NOT_ACCEPTABLE
    assert "no stream 'primary'" in answer.json()["detail"]


def test_a_raw_run_is_no_result(tiled_server):
    uid = raw_run(tiled_server)
    answer = exported(tiled_server, uid, container="raw")
    assert answer.status_code == httpx.codes.NOT_ACCEPTABLE
    assert "no XPCS analysis" in answer.json()["detail"]


def test_other_containers_do_not_know_the_format(tiled_server):
    with tiled_server.http() as client:
        answer = client.get("/api/v1/container/full/processed", params={"format": "xpcs"})
    assert answer.status_code == httpx.codes.NOT_ACCEPTABLE


def test_an_export_needs_the_key(tiled_server, result):
    with tiled_server.http(anonymous=True) as client:
        answer = client.get(f"/api/v1/container/full/processed/{result}", params={"format": "xpcs"})
    assert answer.status_code == httpx.codes.UNAUTHORIZED
