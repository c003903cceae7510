"""g2 and its error beside boost-corr 0.1.7 in float32, from the same files."""

import numpy as np
import pytest

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.formats import open_frames, read_qmap, write_qmap
from apsdm_bluesky.reduction import MultiTau, QMap
from apsdm_bluesky.sim import SpeckleSample
from benchmarks import _boost_corr
from benchmarks._xpcs_files import write_area_detector, write_rigaku

pytestmark = pytest.mark.timeout(1800)  # the first run installs boost-corr

RIGAKU = (512, 1024)
CORNER = (180, 440)  # of the lit part of the Rigaku detector


@pytest.fixture(scope="module")
def boost_corr():
    with _boost_corr.peer(2) as (peer, note):
        if peer is None:
            pytest.fail(note)
        yield peer


def speckle(frames, mean_counts):
    """Frames, shape (n, 128, 144), of speckle with a bright background: no pixel stays dark for long."""
    sample = SpeckleSample(
        SimulationConfig(shape=(128, 144), mean_counts=mean_counts, contrast=0.3, diffusion=1e-5)
    )
    counts = np.empty((frames, *sample.shape), np.uint16)
    sample.series(0).fill(counts)
    return counts, sample


def rings(shape, center, mask):
    return QMap.rings(shape, center, dynamic_bins=6, static_per_dynamic=5, r_min=12, r_max=62, mask=mask)


def ours(raw, qmap, batch):
    reduction = MultiTau(qmap)
    for part in open_frames(raw).batches(batch):
        reduction.push(part)
    return reduction.result()


def assert_agree(measured, theirs, frames):
    np.testing.assert_array_equal(measured.delays, theirs.delays)
    np.testing.assert_allclose(theirs.g2, measured.g2, rtol=2e-5)
    # Pixels without a count have no g2 and are left out of our error; boost-corr gives them g2 = 0. None is
    # without in the first or last three quarters of the frames.
    lit = measured.delays <= frames // 4
    np.testing.assert_allclose(theirs.g2_err[lit], measured.g2_err[lit], rtol=2e-5)


def test_dense_frames_in_hdf5(tmp_path, boost_corr):
    frames, sample = speckle(301, 0.5)
    write_area_detector(tmp_path / "raw.h5", frames)
    write_qmap(tmp_path / "qmap.h5", rings(sample.shape, sample.center, sample.mask))

    measured = ours(tmp_path / "raw.h5", read_qmap(tmp_path / "qmap.h5"), 64)
    _, theirs = boost_corr.run(tmp_path / "raw.h5", tmp_path / "qmap.h5", "float32")
    assert measured.frames == 301
    assert_agree(measured, theirs, 301)


def test_events_of_a_rigaku_file(tmp_path, boost_corr):
    counts, sample = speckle(1501, 0.03)
    frame, y, x = np.nonzero(counts)
    pixel = (y + CORNER[0]) * RIGAKU[1] + x + CORNER[1]
    words = frame.astype(np.uint64) << np.uint64(40) | pixel.astype(np.uint64) << np.uint64(16)
    write_rigaku(tmp_path / "raw.bin", words | counts[frame, y, x])
    mask = np.zeros(RIGAKU, bool)
    mask[CORNER[0] : CORNER[0] + sample.shape[0], CORNER[1] : CORNER[1] + sample.shape[1]] = sample.mask
    center = (sample.center[0] + CORNER[1], sample.center[1] + CORNER[0])
    write_qmap(tmp_path / "qmap.h5", rings(RIGAKU, center, mask))

    measured = ours(tmp_path / "raw.bin", read_qmap(tmp_path / "qmap.h5"), 256)
    _, theirs = boost_corr.run(tmp_path / "raw.bin", tmp_path / "qmap.h5", "float32")
    assert measured.frames == 1501
    assert_agree(measured, theirs, 1501)
