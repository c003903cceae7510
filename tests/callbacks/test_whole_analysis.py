"""What is asked for stands in the documents, and they are enough for a result file."""

import json

import h5py
import numpy as np
import pytest

from apsdm_bluesky.formats import run_record, write_xpcs

from tests.analysis import FRAMES, whole_analysis


@pytest.fixture(scope="module")
def whole():
    """The analysis, its start document, and the data of its streams."""
    analysis, documents = whole_analysis()
    names = {doc["uid"]: doc["name"] for kind, doc in documents if kind == "descriptor"}
    data = {names[doc["descriptor"]]: doc["data"] for kind, doc in documents if kind == "event"}
    return analysis, documents[0][1], data


def test_a_region_counts_what_its_pixels_do(whole):
    _, _, data = whole
    assert json.loads(data["rois"]["names"]) == ["middle"]
    np.testing.assert_array_equal(data["rois"]["sums"][:, 0], FRAMES[:, 4:12, 4:12].sum(axis=(1, 2)))


def test_two_time_is_that_of_the_result(whole):
    analysis, _, data = whole
    assert data["two_time"]["bins"].tolist() == [1]
    np.testing.assert_allclose(data["two_time"]["c2"], analysis.result.two_time.c2, rtol=1e-6)


def test_each_segment_has_its_g2(whole):
    _, _, data = whole
    assert data["primary"]["g2_segment_frames"].tolist() == [16, 16]
    assert data["primary"]["g2_segments"].shape == (2, *data["primary"]["g2"].shape)


def test_every_indicator_has_its_number(whole):
    analysis, _, data = whole
    quality = data["quality"]
    for i, each in enumerate(analysis.result.quality.indicators):
        assert (json.loads(quality["names"])[i], quality["bin"][i]) == (each.name, each.bin or 0)
        np.testing.assert_equal(quality["value"][i], each.value)
    assert "ageing" in json.loads(quality["names"])


def test_a_result_file_has_all_of_it(whole, tmp_path):
    analysis, start, data = whole
    write_xpcs(tmp_path / "result.h5", run_record(start, data))
    with h5py.File(tmp_path / "result.h5") as file:
        np.testing.assert_array_equal(file["xpcs/multitau/normalized_g2"][:], analysis.result.multitau.g2)
        assert file["xpcs/temporal_mean/scattering_1d_segments"].shape == analysis.result.saxs.segments.shape
        assert file["xpcs/qmap/detector_distance"][()] == 5
        upper = np.triu(analysis.result.two_time.c2[0])
        np.testing.assert_allclose(file["xpcs/twotime/correlation_map/c2_00001"][:], upper, rtol=1e-6)


def test_the_sums_are_let_go_when_the_result_is_there(whole):
    analysis, _, _ = whole
    assert analysis._series is None
