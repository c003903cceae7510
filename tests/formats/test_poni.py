import json
import sys

import numpy as np
import pytest

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.formats import read_poni

SHAPE = (40, 50)
FLAT = {
    "Distance": 0.02,
    "Poni1": 1e-3,
    "Poni2": 2e-3,
    "Rot1": 0,
    "Rot2": 0,
    "Rot3": 0,
    "Wavelength": 1.2e-10,
}
PIXELS = {"pixel1": 75e-6, "pixel2": 75e-6, "max_shape": SHAPE}


def write(path, version=2.1, detector="Detector", config=None, **changes):
    config = json.dumps(PIXELS | {"orientation": 3} if config is None else config)
    head = {"poni_version": version, "Detector": detector, "Detector_config": config}
    lines = [f"{key}: {value}" for key, value in (head | FLAT | changes).items() if value is not None]
    path.write_text("\n".join(["# Nota: C-Order, 1 refers to the Y axis, 2 to the X axis", *lines, ""]))
    return path


def test_a_file_without_a_tilt(tmp_path):
    """PONI is measured from the corner of pixel (0, 0), our centres from its middle."""
    pytest.importorskip("pyFAI")
    place = read_poni(write(tmp_path / "a.poni"))
    assert place.center == pytest.approx((2e-3 / 75e-6 - 0.5, 1e-3 / 75e-6 - 0.5))
    assert (place.distance_m, place.pixel_size_m, place.rotations) == (0.02, 75e-6, (0, 0, 0))
    assert place.energy_kev == pytest.approx(12.398419843320026 / 1.2)


@pytest.mark.parametrize(
    "rotations",
    [(0, 0, 0), (0.1, 0, 0), (0, 0.2, 0), (0, 0, 0.3), (0.1, -0.2, 0.3), (-0.4, 0.5, -3)],
)
def test_q_and_azimuth_are_those_of_pyfai(tmp_path, rotations):
    """pyFAI's chi is clockwise in an image with row 0 at the top."""
    pyfai = pytest.importorskip("pyFAI")
    path = write(tmp_path / "a.poni", **dict(zip(("Rot1", "Rot2", "Rot3"), rotations, strict=True)))
    ours, theirs = read_poni(path), pyfai.load(str(path))
    np.testing.assert_allclose(ours.q(SHAPE), theirs.array_from_unit(SHAPE, "center", "q_A^-1"), rtol=1e-9)
    chi = np.rad2deg(theirs.center_array(SHAPE, "chi_rad"))
    np.testing.assert_allclose((ours.azimuth(SHAPE) + chi + 180) % 360, 180, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "pixel"),
    [
        ({"version": 2, "config": PIXELS}, 75e-6),
        ({"version": 2.1, "detector": "Lambda 750k", "config": {"orientation": 3}}, 55e-6),
        ({"version": 2, "detector": "Eiger4M", "config": {}}, 75e-6),
        (
            {
                "version": None,
                "detector": None,
                "Detector_config": None,
                "PixelSize1": 1e-4,
                "PixelSize2": 1e-4,
            },
            1e-4,
        ),
    ],
)
def test_versions_and_detectors_by_name(tmp_path, changes, pixel):
    pytest.importorskip("pyFAI")
    assert read_poni(write(tmp_path / "a.poni", **changes)).pixel_size_m == pixel


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Wavelength": None}, "has no wavelength"),
        ({"Distance": None, "Poni2": None}, "has no dist, poni2"),
        ({"Distance": "far"}, "pyFAI cannot read it"),
        ({"Distance": -1}, "distance_m is -1"),
        ({"Wavelength": 0}, "wavelength"),
        ({"config": {"orientation": 3}}, "has no pixel size"),
        ({"config": PIXELS | {"pixel1": 1e-4, "orientation": 3}}, "must be square"),
        ({"config": PIXELS | {"orientation": 2}}, "has orientation 2"),
        ({"detector": "Xpad_flat", "config": {"orientation": 3}}, "regular grid"),
        ({"detector": "Unheard", "config": {}}, "pyFAI cannot read it"),
        ({"Rot1": "nan"}, "beam centre"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path, changes, message):
    pytest.importorskip("pyFAI")
    with pytest.raises(FormatError, match=rf"a\.poni: .*{message}") as caught:
        read_poni(write(tmp_path / "a.poni", **changes))
    assert "\n" not in str(caught.value)


def test_what_is_no_poni_file(tmp_path):
    pytest.importorskip("pyFAI")
    (tmp_path / "text.poni").write_text("hello")
    (tmp_path / "bytes.poni").write_bytes(bytes(range(256)))
    for name in ("text.poni", "bytes.poni", "absent.poni", "."):
        with pytest.raises(FormatError, match="pyFAI"):
            read_poni(tmp_path / name)


def test_without_pyfai_it_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyFAI.io.ponifile", None)
    with pytest.raises(FormatError, match=r"a\.poni: pyFAI is needed .* 'apsdm-bluesky\[pyfai\]'"):
        read_poni(write(tmp_path / "a.poni"))
