"""The q-map that a configuration asks for."""

import numpy as np
import pytest

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ApsdmError, FormatError, ReductionError
from apsdm_bluesky.formats import write_qmap
from apsdm_bluesky.qmaps import dynamic_bins, qmap_chooser
from apsdm_bluesky.reduction import Geometry, QMap

SHAPE = (40, 50)
PLACE = {"center": (20.5, 12.0), "distance_m": 8.0, "energy_kev": 10.9, "pixel_size_m": 55e-6}


def config(**qmap):
    return BeamlineConfig.model_validate({"reduction": {"qmap": qmap}})


@pytest.fixture
def mask():
    good = np.ones(SHAPE, bool)
    good[:, 20] = False
    return good


def test_rings_and_a_mask(tmp_path, mask):
    np.save(tmp_path / "mask.npy", mask)
    asked = config(center=(20, 12), dynamic_bins=3, r_max=11, mask=tmp_path / "mask.npy")
    expected = QMap.rings(SHAPE, (20, 12), dynamic_bins=3, r_max=11, mask=mask)
    assert qmap_chooser(asked)(SHAPE).hash == expected.hash
    assert dynamic_bins(asked) == 3


def test_bins_in_q_and_phi(tmp_path, mask):
    np.save(tmp_path / "mask.npy", mask)
    bins = {
        "dynamic_bins": 3, "static_per_dynamic": 2, "phi_bins": 4, "static_phi_per_dynamic": 2,
        "spacing": "log", "q_min": 1e-4, "r_max": 11,
    }  # fmt: skip
    asked = config(**PLACE, **bins, mask=tmp_path / "mask.npy")
    qmap = qmap_chooser(asked)(SHAPE)
    assert qmap.hash == QMap.partition(SHAPE, Geometry(**PLACE), **bins, mask=mask).hash
    assert len(qmap.q) == dynamic_bins(asked) == 12


def test_the_geometry_of_a_poni_file(tmp_path):
    pytest.importorskip("pyFAI")
    path = tmp_path / "a.poni"
    path.write_text(
        "PixelSize1: 7.5e-05\nPixelSize2: 7.5e-05\nDistance: 8\nPoni1: 0.0015\nPoni2: 0.0015\n"
        "Rot1: 0\nRot2: 0\nRot3: 0\nWavelength: 1.2e-10\n"
    )
    qmap = qmap_chooser(config(poni=path))(SHAPE)
    assert qmap.center == pytest.approx((19.5, 19.5))
    assert qmap.unit == "Å⁻¹"


def test_a_qmap_file_and_a_mask(tmp_path, mask):
    qmap = QMap.partition(SHAPE, Geometry(**PLACE), phi_bins=2)
    write_qmap(tmp_path / "qmap.h5", qmap)
    np.save(tmp_path / "mask.npy", mask)
    assert qmap_chooser(config(file=tmp_path / "qmap.h5"))(SHAPE).hash == qmap.hash
    asked = config(file=tmp_path / "qmap.h5", mask=tmp_path / "mask.npy")
    assert qmap_chooser(asked)(SHAPE).hash == qmap.without(~mask).hash
    assert dynamic_bins(asked) == 16


def test_another_shape_is_told_with_the_file(tmp_path, mask):
    write_qmap(tmp_path / "qmap.h5", QMap.partition(SHAPE, Geometry(**PLACE)))
    np.save(tmp_path / "mask.npy", mask)
    for asked, message in [
        (config(file=tmp_path / "qmap.h5"), r"qmap\.h5: the q-map is \(40, 50\), the frames are \(50, 40\)"),
        (config(center=(9, 9), mask=tmp_path / "mask.npy"), r"mask\.npy: the mask is \(40, 50\)"),
    ]:
        with pytest.raises(ReductionError, match=message):
            qmap_chooser(asked)((50, 40))


@pytest.mark.parametrize("key", ["file", "poni", "mask"])
def test_files_are_read_before_frames_come(tmp_path, key):
    sources = {"center": (1, 2)} if key == "mask" else {}
    with pytest.raises(FormatError, match=r"absent\.npy"):
        qmap_chooser(config(**sources, **{key: tmp_path / "absent.npy"}))


def test_impossible_bins_are_an_error_of_ours():
    with pytest.raises(ApsdmError, match="q_min or r_min"):
        qmap_chooser(config(**PLACE, q_min=1e-4, r_min=2))(SHAPE)
