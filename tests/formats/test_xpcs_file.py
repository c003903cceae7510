"""Result files: opened with the real pyXpcsViewer, held against NXxpcs, and never half written."""

import dataclasses
import resource
import signal

import h5py
import numpy as np
import pytest
from pyxpcsviewer import XpcsFile
from pyxpcsviewer.core.file_io.ftype_utils import get_ftype
from pyxpcsviewer.core.file_io.qmap_utils import QMapManager

from apsdm_bluesky.errors import FormatError, StorageError
from apsdm_bluesky.formats import Provenance, read_qmap, write_xpcs, xpcs_bytes

from .xpcs_records import GEOMETRY, PLACED, PROVENANCE, QMAP, SHAPE, elsewhere, record, segments, two_time

PLAIN = record()
FULL = record(PLACED, two_time=two_time())
BARE = record(provenance=Provenance(identifier="frames_001"), center_known=False, fit={})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sample_results.hdf"


@pytest.fixture
def opened(path):
    """Write a record and open the file."""
    files = []

    def open_it(written):
        write_xpcs(path, written)
        files.append(h5py.File(path, "r"))
        return files[-1]

    yield open_it
    for file in files:
        file.close()


def viewer(path, written):
    write_xpcs(path, written, overwrite=True)
    assert get_ftype(str(path)) == "nexus"
    return XpcsFile(str(path), qmap_manager=QMapManager())


@pytest.mark.parametrize("written", [PLAIN, FULL, BARE], ids=["plain", "full", "bare"])
def test_pyxpcsviewer_reads_the_numbers(path, written):
    seen = viewer(path, written)
    assert "Multitau" in seen.atype
    np.testing.assert_array_equal(seen.tau, written.delays)
    np.testing.assert_array_equal(seen.g2, written.g2)
    np.testing.assert_array_equal(seen.g2_err, written.g2_err)
    np.testing.assert_array_equal(seen.saxs_1d["data_raw"], written.saxs[np.newaxis])
    np.testing.assert_array_equal(seen.Int_t, [written.frame_index, written.total])
    np.testing.assert_allclose(seen.saxs_2d, written.sum_image / written.frames, rtol=1e-6)
    np.testing.assert_array_equal(seen.mask, written.qmap.mask)
    np.testing.assert_array_equal(seen.dqmap, written.qmap.dynamic)
    np.testing.assert_array_equal(seen.sqmap, written.qmap.static)


def test_pyxpcsviewer_has_seconds_and_energy(path):
    seen = viewer(path, PLAIN)
    np.testing.assert_allclose(seen.t_el, PLAIN.delays * 0.002)
    assert (seen.t0, seen.t1, seen.X_energy) == (0.002, 0.0015, 8.0)
    assert seen.start_time == PROVENANCE.start_time
    assert (seen.bcx, seen.bcy) == (19.5, 14.25)
    q, seconds, g2, _, labels = seen.get_g2_data()
    np.testing.assert_allclose(q, QMAP.q)
    np.testing.assert_allclose(seconds, PLAIN.delays * 0.002)
    np.testing.assert_array_equal(g2, PLAIN.g2)
    assert len(labels) == 2
    assert seen.get_hdf_info()["/entry/instrument"]["bluesky"]["metadata"]["proposal"] == "p-1"


def test_pyxpcsviewer_has_the_geometry_and_the_azimuth(path):
    seen = viewer(path, FULL)
    assert (seen.det_dist, seen.pixel_size, seen.X_energy) == (4.0, 75e-6, GEOMETRY.energy_kev)
    np.testing.assert_array_equal(seen.dynamic_num_pts, [2, 4])
    np.testing.assert_allclose(np.repeat(seen.dqlist, 4), PLACED.q)
    assert "φ" in seen.get_qbin_label(1)
    of_pixels = seen.qmap.compute_qmap()[0]["q"]
    ring = np.isin(PLACED.static, 1 + np.flatnonzero(PLACED.static_q == PLACED.static_q[0]))
    assert of_pixels[ring].mean() == pytest.approx(PLACED.static_q[0], rel=1e-4)


def test_pyxpcsviewer_shows_the_two_time_maps(path):
    maps = FULL.two_time
    seen = viewer(path, FULL)
    assert "Twotime" in seen.atype
    np.testing.assert_array_equal(seen.c2_processed_bins, maps.bins)
    assert seen.c2_t0 == pytest.approx(0.002 * maps.width)
    for selection in (0, 1):
        shown = seen.get_twotime_c2(selection=selection, correct_diag=False)
        np.testing.assert_allclose(shown["c2_mat"], maps.c2[selection])
        means = [np.diagonal(maps.c2[selection], lag).mean() for lag in range(12)]
        np.testing.assert_allclose(shown["g2_full"], means)
        assert shown["g2_partial"].shape == (5, 2)
        second = maps.c2[selection, 2:4, 2:4]
        np.testing.assert_allclose(shown["g2_partial"][1], [np.trace(second) / 2, second[0, 1]])


def test_two_time_leaves_out_what_is_not_defined(path):
    c2 = np.ones((1, 6, 6))
    c2[0, 2], c2[0, :, 2], c2[0, 0, 5] = np.nan, np.nan, np.nan
    maps = dataclasses.replace(two_time(), bins=np.array([2]), c2=c2)
    means = maps.g2()[:, 0, 0]
    np.testing.assert_array_equal(means, [1, 1, 1, 1, 1, np.nan])
    shown = viewer(path, record(two_time=maps)).get_twotime_c2(correct_diag=False)
    np.testing.assert_array_equal(shown["c2_mat"][2], np.full(6, np.nan))


def test_an_empty_bin_is_nan_in_pyxpcsviewer(path):
    saxs, g2 = PLAIN.saxs.copy(), PLAIN.g2.copy()
    saxs[4], g2[:, 1] = np.nan, np.nan
    written = record(saxs=saxs, g2=g2)
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):  # the viewer's own
        seen = viewer(path, written)
    np.testing.assert_array_equal(np.isnan(seen.saxs_1d["Iq"][0]), np.arange(6) == 4)
    assert np.isnan(seen.g2[:, 1]).all()


# What contributed_definitions/NXxpcs.nxdl.xml (NeXus definitions, 2026) demands, and the class of each group.
GROUPS = {
    "/entry": "NXentry",
    "/entry/data": "NXdata",
    "/entry/instrument": "NXinstrument",
    "/entry/instrument/incident_beam": "NXbeam",
    "/entry/instrument/detector_1": "NXdetector",
    "/entry/instrument/masks": "NXnote",
    "/process": "NXprocess",
}
REQUIRED = {
    "/entry/definition": "O",
    "/entry/entry_identifier": "O",
    "/entry/start_time": "O",
    "/entry/instrument/incident_beam/incident_energy": "f",
    "/entry/instrument/detector_1/count_time": "f",
    "/entry/instrument/detector_1/frame_time": "f",
    "/entry/instrument/detector_1/beam_center_x": "f",
    "/entry/instrument/detector_1/beam_center_y": "f",
    "/entry/instrument/masks/dynamic_roi_map": "u",
}
STORAGE = {"one_array", "data_exchange_keys", "other"}
MODES = {
    "/entry/data/g2": STORAGE,
    "/entry/data/g2_derr": STORAGE,
    "/entry/data/delay_difference": STORAGE,
    "/entry/twotime/two_time_corr_func": {"data_exchange_keys"},
    "/entry/twotime/g2_from_two_time_corr_func": {"one_array_q_first", "one_array_q_last"},
    "/entry/twotime/g2_from_two_time_corr_func_partials": STORAGE,
}


@pytest.mark.parametrize("written", [PLAIN, FULL, BARE], ids=["plain", "full", "bare"])
def test_nxxpcs_has_what_its_definition_demands(opened, written):
    file = opened(written)
    assert {name: file[name].attrs["NX_class"] for name in GROUPS} == GROUPS
    assert {name: file[name].dtype.kind for name in REQUIRED} == REQUIRED
    assert file["/entry/definition"][()] == b"NXxpcs"
    assert file["/entry/data/delay_difference"].dtype.kind == "i"
    present = [name for name in MODES if name in file]
    assert len(present) == (6 if written is FULL else 3)
    assert all(file[name].attrs["storage_mode"] in MODES[name] for name in present)


def test_nxxpcs_holds_the_numbers(opened):
    file = opened(FULL)
    entry = file["entry"]
    assert entry["entry_identifier"][()] == b"17"
    assert entry["scan_number"][()] == 17
    assert entry["entry_identifier_uuid"][()].decode() == PROVENANCE.raw_uid
    np.testing.assert_array_equal(entry["data/frame_sum"], FULL.sum_image)
    np.testing.assert_array_equal(entry["data/g2"], FULL.g2)
    np.testing.assert_array_equal(entry["instrument/masks/dynamic_q_list"], PLACED.q)
    np.testing.assert_array_equal(entry["instrument/masks/dynamic_phi_list"], PLACED.phi)
    assert entry["instrument/detector_1/distance"].attrs["units"] == "m"
    assert entry["instrument/detector_1/distance"][()] == 4.0
    assert entry["sample/name"][()] == b"silica"
    assert entry["ledger/expected"][()] == 50
    assert file["process/reduction/result_sha256"][()].decode() == FULL.result_sha256
    assert file["process/fit/diffusion"][()] == 0.25
    corr = entry["twotime/two_time_corr_func"]
    assert list(corr) == ["c2_00001", "c2_00002"]
    assert corr.attrs["populated_elements"] == "upper_half"


def test_every_number_is_stored_once(opened):
    file = opened(FULL)
    for link in ("/entry/data/g2", "/entry/data/frame_average", "/entry/instrument/masks/static_roi_map"):
        assert file[link].attrs["target"] != link
        assert file[link] == file[file[link].attrs["target"]]
    places = []
    file.visititems(lambda name, item: places.append(name) if isinstance(item, h5py.Dataset) else None)
    seen = {}
    for name in places:  # h5py visits an object once, however many names it has
        values = file[name][()]
        if np.size(values) > 20:
            assert seen.setdefault((values.dtype.str, values.tobytes()), name) == name or "mask" in name, name


def test_what_is_not_known_is_nan_or_left_out(opened):
    file = opened(BARE)
    unknown = [
        "incident_beam/incident_energy",
        *(
            f"detector_1/{name}"
            for name in (
                "count_time",
                "frame_time",
                "beam_center_x",
                "beam_center_y",
                "distance",
                "x_pixel_size",
            )
        ),
    ]
    assert all(np.isnan(file[f"entry/instrument/{name}"][()]) for name in unknown)
    assert file["entry/start_time"][()] == b""
    for absent in ("end_time", "entry_identifier_uuid", "scan_number", "sample", "ledger", "twotime"):
        assert absent not in file["entry"]
    assert "twotime" not in file["xpcs"]


@pytest.mark.parametrize("qmap", [QMAP, PLACED], ids=["pixels", "placed"])
def test_the_q_map_reads_back_equal(path, qmap):
    write_xpcs(path, record(qmap))
    assert read_qmap(path).hash == qmap.hash


def test_pyxpcsviewer_shows_the_time_segments(path):
    parts = segments()
    seen = viewer(path, record(**parts))
    np.testing.assert_array_equal(seen.Iqp, parts["saxs_segments"])
    np.testing.assert_allclose(seen.Iqp.sum(axis=0), seen.saxs_1d["Iq"][0])
    q, _, g2, _, _, labels = seen.get_g2_stability_data()
    assert len(q) == 2
    np.testing.assert_array_equal(g2, parts["g2_segments"])
    assert labels.tolist() == [b"from frame 0", b"from frame 16", b"from frame 32"]


def test_without_segments_the_whole_is_one(path):
    seen = viewer(path, PLAIN)
    np.testing.assert_array_equal(seen.Iqp, [PLAIN.saxs])
    assert seen.g2_partial is None


def test_the_same_record_gives_the_same_bytes(path):
    write_xpcs(path, FULL)
    assert path.read_bytes() == xpcs_bytes(FULL)
    assert xpcs_bytes(record(provenance=elsewhere(scan_id=18))) != xpcs_bytes(PLAIN)


def test_a_file_is_replaced_only_when_told(path):
    path.write_text("precious")
    with pytest.raises(StorageError, match=r"sample_results\.hdf: exists already"):
        write_xpcs(path, PLAIN)
    assert path.read_text() == "precious"
    write_xpcs(path, PLAIN, overwrite=True)
    assert h5py.is_hdf5(path)
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_is_none_is_told(tmp_path):
    (tmp_path / "file").touch()
    for folder in ("file", "nowhere"):
        with pytest.raises(StorageError, match="cannot be written"):
            write_xpcs(tmp_path / folder / "a.hdf", PLAIN)


def test_a_full_disk_leaves_nothing(path):
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(StorageError, match="File too large"):
            write_xpcs(path, PLAIN)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"g2": np.ones((9, 3))}, r"g2 has shape \(9, 3\).*need \(9, 2\)"),
        ({"g2_err": np.full((9, 2), "x")}, "g2_err .* need"),
        ({"g2": [[1.0], [2.0, 3.0]]}, "g2 is no array"),
        ({"delays": np.arange(9.0)}, "delays .* float64: need"),
        ({"delays": 3}, r"delays has shape \(\)"),
        ({"sum_image": np.ones((40, 30), int)}, r"sum_image .* need \(30, 40\)"),
        ({"total": np.ones(3, int)}, "total"),
        ({"saxs": np.ones(5)}, "saxs"),
        ({"saxs_segments": np.ones((2, 5))}, "saxs_segments"),
        ({"g2_segments": np.ones((3, 9, 2)), "g2_segment_first": np.arange(2)}, "g2_segments"),
        ({"g2_segments": np.ones((1, 9, 2))}, "g2_segment"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, told):
    with pytest.raises(FormatError, match=told):
        record(**changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"c2": np.ones((2, 3, 4))}, "one square a bin"),
        ({"c2": np.ones((2, 0, 0))}, "one square a bin"),
        ({"c2": np.ones((3, 4, 4))}, "c2"),
        ({"bins": np.array([2, 1])}, "ascending"),
        ({"bins": np.array([0, 1])}, "from 1"),
        ({"bins": np.array([1, 9])}, "bin 9 of 2"),
    ],
)
def test_two_time_maps_that_do_not_fit_are_refused(changes, told):
    with pytest.raises(FormatError, match=told):
        record(two_time=dataclasses.replace(two_time(), **changes))


@pytest.mark.parametrize(
    "odd",
    [{"sample": "a\0b"}, {"scan_id": 2**70}, {"software": {"": "1"}}, {"metadata": {"a": "\ud800"}}],
    ids=["nul", "huge", "nameless", "surrogate"],
)
def test_what_hdf5_cannot_store_is_refused(path, odd):
    with pytest.raises(FormatError, match="result '17' cannot be stored as HDF5"):
        write_xpcs(path, record(provenance=elsewhere(**odd)))
    assert not path.exists()


def test_no_frames_at_all_make_a_file(opened):
    nothing = {name: np.empty(0, int) for name in ("delays", "levels", "pairs", "frame_index", "total")}
    arrays = {"g2": np.empty((0, 2)), "g2_err": np.empty((0, 2)), "saxs": np.full(6, np.nan)}
    file = opened(record(frames=0, sum_image=np.zeros(SHAPE, int), **nothing, **arrays))
    assert file["entry/data/g2"].shape == (0, 2)
    assert not file["entry/data/frame_average"][()].any()
