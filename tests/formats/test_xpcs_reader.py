"""Result files of any program, read back; and frames for a program that computes them."""

import h5py
import numpy as np
import pytest

from apsdm_bluesky.errors import FormatError, StorageError
from apsdm_bluesky.formats import ArraySeries, open_frames, read_xpcs, write_for_boost_corr, write_xpcs
from apsdm_bluesky.model import COUNT_BITS, FRAME_SHIFT, PIXEL_SHIFT, EventBatch

from .xpcs_records import PLACED, PROVENANCE, record, two_time

FULL = record(PLACED, two_time=two_time(width=1))


@pytest.fixture
def path(tmp_path):
    write_xpcs(tmp_path / "sample_results.hdf", FULL)
    return tmp_path / "sample_results.hdf"


def test_what_was_written_is_read(path):
    found = read_xpcs(path)
    assert found.raw_uid == PROVENANCE.raw_uid
    assert found.qmap.hash == PLACED.hash
    for name in ("delays", "g2", "g2_err", "saxs", "frame_index"):
        np.testing.assert_array_equal(getattr(found, name), getattr(FULL, name))
    np.testing.assert_array_equal(found.intensity, FULL.total)
    np.testing.assert_array_equal(found.bins, FULL.two_time.bins)
    np.testing.assert_array_equal(found.c2, FULL.two_time.c2.astype(np.float32))


def test_delays_are_in_frames_where_frames_were_averaged_or_left_out(path):
    with h5py.File(path, "a") as file:
        file["xpcs/multitau/config/avg_frame"][()] = 3
        file["xpcs/multitau/config/stride_frame"][()] = 2
    np.testing.assert_array_equal(read_xpcs(path).delays, 6 * FULL.delays)


def test_without_a_multi_tau_the_rest_is_read(path):
    with h5py.File(path, "a") as file:
        del file["xpcs/multitau"]
    assert read_xpcs(path).g2 is None
    assert read_xpcs(path).c2.shape == FULL.two_time.c2.shape


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("multitau/normalized_g2", np.ones((9, 3)), "shape"),
        ("multitau/normalized_g2_err", np.full((9, 8), b"x"), "no array of numbers"),
        ("multitau/config/avg_frame", [1, 2], "cannot be read as a result"),
        ("twotime/processed_bins", [1, 900], "that cannot be"),
        ("twotime/correlation_map/c2_00002", np.ones(4), "shape"),
        ("spatial_mean/intensity_vs_time", None, "no array of numbers"),
    ],
)
def test_what_does_not_fit_is_told(path, name, value, told):
    with h5py.File(path, "a") as file:
        del file[f"xpcs/{name}"]
        if value is not None:
            file[f"xpcs/{name}"] = value
    with pytest.raises(FormatError, match=f"sample_results.hdf: .*{told}"):
        read_xpcs(path)


class Events:
    """A `FrameSeries` of events: `frames` of them, each with one more count in the next pixel."""

    events = True
    dtype = np.dtype(np.uint16)
    period_s = None

    def __init__(self, shape, frames, lost=()):
        self.shape, self.frames = shape, frames
        self.indices = np.setdiff1d(np.arange(frames), lost)

    def batches(self, size):
        for part in np.array_split(self.indices, 3):
            number = part.astype(np.uint64)
            words = number << np.uint64(PIXEL_SHIFT) | (number + np.uint64(1))
            words |= np.uint64(7) << np.uint64(FRAME_SHIFT)  # means nothing
            yield EventBatch(words=words, offsets=np.arange(len(part) + 1), indices=part, shape=self.shape)


@pytest.mark.parametrize(("shape", "name"), [((512, 1024), "run.bin"), ((40, 50), "run.h5")])
def test_events_are_written_for_boost_corr(tmp_path, shape, name):
    path = write_for_boost_corr(tmp_path, "run", Events(shape, 20), PROVENANCE)
    assert path == tmp_path / name
    series = open_frames(path)
    assert (series.frames, series.shape) == (20, shape)
    counts = np.zeros((20, shape[0] * shape[1]), int)
    for batch in series.batches(64):
        if isinstance(batch, EventBatch):
            rows = np.repeat(batch.indices, np.diff(batch.offsets))
            counts[rows, batch.pixels] += (batch.words & np.uint64((1 << COUNT_BITS) - 1)).astype(int)
        else:
            counts[batch.indices] = batch.frames.reshape(len(batch), -1)
    expected = np.zeros_like(counts)
    expected[np.arange(20), np.arange(20)] = np.arange(1, 21)
    np.testing.assert_array_equal(counts, expected)
    with h5py.File(tmp_path / "run_metadata.hdf") as file:
        assert "entry/schema_version" in file
        assert file["entry/instrument/detector_1/frame_time"][()] == 0.002
        assert file["entry/instrument/bluesky/metadata/raw_uid"][()].decode() == PROVENANCE.raw_uid


@pytest.mark.parametrize(("lost", "first"), [([4, 5], 4), ([0], 0), ([19], 19)])
def test_a_gap_is_refused(tmp_path, lost, first):
    with pytest.raises(FormatError, match=f"frame {first} is missing"):
        write_for_boost_corr(tmp_path, "run", Events((40, 50), 20, lost), PROVENANCE)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_not_replaced(tmp_path):
    frames = ArraySeries(np.ones((3, 4, 5), np.uint16))
    write_for_boost_corr(tmp_path, "run", frames, PROVENANCE)
    with pytest.raises(StorageError, match=r"run\.h5: exists already"):
        write_for_boost_corr(tmp_path, "run", frames, PROVENANCE)
    with pytest.raises(StorageError, match="cannot be written"):
        write_for_boost_corr(tmp_path / "none", "run", frames, PROVENANCE)
