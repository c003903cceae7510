import numpy as np
import pytest

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.reduction import Geometry, QMap


def qmap(**changes):
    dynamic = np.array([[0, 1, 1], [2, 2, 2]])
    good = {
        "dynamic": dynamic,
        "static": np.array([[0, 1, 2], [3, 3, 4]]),
        "mask": np.ones((2, 3), bool),
        "q": [0.1, 0.2],
        "static_q": [0.1, 0.1, 0.2, 0.2],
        "unit": "1/nm",
        "center": (1.0, 0.0),
    }
    return QMap(**(good | changes))


def test_rings_are_contiguous_and_of_equal_width():
    rings = QMap.rings((101, 81), (40, 50), dynamic_bins=4, static_per_dynamic=3, r_min=4, r_max=40)
    y, x = np.indices(rings.shape)
    radius = np.hypot(x - 40, y - 50)
    used = (radius >= 4) & (radius < 40)
    np.testing.assert_array_equal(rings.dynamic > 0, used)
    np.testing.assert_array_equal(rings.static[used], np.floor((radius[used] - 4) / 3).astype(int) + 1)
    np.testing.assert_array_equal(rings.dynamic[used], np.floor((radius[used] - 4) / 9).astype(int) + 1)
    assert rings.static_q[5] == pytest.approx(radius[rings.static == 6].mean())
    np.testing.assert_allclose(rings.q, rings.static_q.reshape(4, 3).mean(axis=1))
    assert rings.parents.tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert (rings.unit, rings.center, rings.shape) == ("px", (40.0, 50.0), (101, 81))


@pytest.mark.parametrize(
    ("center", "inner", "outer"),
    [
        ((143, 132), 112.5 / 8, 112.5),  # the largest full circle
        ((0, 0), np.hypot(255.5, 255.5) / 8, np.hypot(255.5, 255.5)),  # a corner: to the farthest corner
        ((-100, 128), 100, np.hypot(355.5, 128.5)),  # outside: from the nearest pixel on
    ],
)
def test_default_radii(center, inner, outer):
    rings = QMap.rings((256, 256), center)
    y, x = np.indices(rings.shape)
    radius = np.hypot(x - center[0], y - center[1])
    np.testing.assert_array_equal(rings.dynamic > 0, (radius >= inner) & (radius < outer))
    assert set(np.unique(rings.dynamic[rings.dynamic > 0])) == set(range(1, 9))


def test_masked_pixels_are_not_used_and_bins_keep_their_q():
    rings = QMap.rings((40, 40), (20, 20), dynamic_bins=2, static_per_dynamic=2)
    bad = rings.dynamic == 1
    bad[0, 0] = True
    left = rings.without(bad)
    assert not left.mask[bad].any()
    assert np.unique(left.dynamic).tolist() == [0, 2]
    np.testing.assert_array_equal(left.q, rings.q)
    assert left.parents.tolist() == [0, 0, 2, 2]
    assert left.pixels.tolist() == np.flatnonzero(rings.dynamic == 2).tolist()
    assert rings.mask.all(), "the first map is as it was"
    masked = QMap.rings((40, 40), (20, 20), dynamic_bins=2, static_per_dynamic=2, mask=~bad)
    assert masked.hash == left.hash


def test_hash_tells_contents_apart():
    assert qmap().hash == qmap(center=(np.float32(1), 0)).hash
    assert qmap().hash == "864a231e8331d53927ca2d3f8ade01eb6afd7f26320b6217aae27f76a0280c3f"
    others = [
        qmap(q=[0.1, 0.3]),
        qmap(static_q=[0.1, 0.1, 0.2, 0.3]),
        qmap(unit="px"),
        qmap(center=(0.0, 1.0)),
        qmap(static=np.array([[0, 1, 1], [3, 3, 4]])),
        qmap().without(np.array([[True, False, False], [False] * 3])),
    ]
    place = {"center": (1.0, 0.0), "distance_m": 8.0, "energy_kev": 9.0, "pixel_size_m": 1e-4}
    angles = {"phi": [0, 90], "static_phi": [0, 0, 90, 90]}
    others += [
        qmap(geometry=Geometry(**place)),
        qmap(geometry=Geometry(**place | {"energy_kev": 10})),
        qmap(geometry=Geometry(**place, rotations=(0, 0, 0.1))),
        qmap(**angles),
        qmap(**angles | {"phi": [0, 80]}),
        qmap(**angles, geometry=Geometry(**place)),
    ]
    assert len({other.hash for other in [qmap(), *others]}) == 13


def test_masking_keeps_geometry_and_angles():
    geometry = Geometry(center=(1, 0), distance_m=8, energy_kev=9, pixel_size_m=1e-4)
    made = qmap(geometry=geometry, phi=[0, 90], static_phi=[0, 0, 90, 90])
    left = made.without(np.array([[True, False, False], [False] * 3]))
    assert left.geometry == geometry
    assert (left.phi.tolist(), left.static_phi.tolist()) == ([0, 90], [0, 0, 90, 90])
    with pytest.raises(ValueError, match="read-only"):
        left.phi[0] = 1


def test_arrays_are_copies_and_read_only():
    static = np.array([[0, 1, 2], [3, 3, 4]])
    made = qmap(static=static)
    static[:] = 0
    assert made.static.max() == 4
    for name in ("dynamic", "static", "mask", "q", "static_q"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(made, name)[0] = 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"static": np.array([[0, 1, 3], [3, 3, 4]])}, "static bin 3 lies in dynamic bins 1, 2"),
        ({"static": np.array([[1, 1, 2], [3, 3, 4]])}, r"pixel \(x=0, y=0\)"),
        ({"static": np.array([[0, 0, 2], [3, 3, 4]])}, r"pixel \(x=1, y=0\)"),
        ({"q": [0.1]}, "bins 0 to 2, but there are 1"),
        ({"static": np.array([[0, -1, 2], [3, 3, 4]])}, "bins -1 to 4"),
        ({"static": np.zeros((2, 3))}, "float64"),
        ({"dynamic": np.zeros((3, 2), int)}, "shape"),
        ({"mask": np.ones((2, 3), int)}, "need bool"),
        ({"mask": np.zeros((2, 3), bool)}, "uses no pixel"),
        ({"center": (np.nan, 1)}, "beam centre"),
        ({"phi": [0, 1]}, "give both, or none"),
        ({"static_phi": [0, 1, 2, 3]}, "give both, or none"),
        ({"phi": [0], "static_phi": [0, 1, 2, 3]}, r"phi has shape \(1,\): need one angle a bin, \(2,\)"),
        ({"phi": [0, 1], "static_phi": [[0, 1], [2, 3]]}, "static_phi has shape"),
        (
            {"geometry": Geometry(center=(2, 0), distance_m=8, energy_kev=9, pixel_size_m=1e-4)},
            r"beam centre \(1.0, 0.0\), but \(2.0, 0.0\) in the geometry",
        ),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(ReductionError, match=message):
        qmap(**changes)


@pytest.mark.parametrize(
    "arguments",
    [
        {"dynamic_bins": 0},
        {"static_per_dynamic": 0},
        {"center": (np.inf, 3)},
        {"r_min": 30, "r_max": 20},
        {"r_min": -1},
        {"r_max": np.inf},
        {"r_min": 200, "r_max": 300},
        {"mask": np.ones((3, 3), bool)},
        {"mask": np.ones((40, 40))},
    ],
)
def test_impossible_rings_are_refused(arguments):
    with pytest.raises(ReductionError):
        QMap.rings((40, 40), **({"center": (20, 20)} | arguments))


@pytest.mark.parametrize("bad", [np.zeros((3, 3), bool), np.zeros((2, 3), int), np.ones((2, 3), bool)])
def test_without_refuses_another_shape_and_all_pixels(bad):
    with pytest.raises(ReductionError):
        qmap().without(bad)
