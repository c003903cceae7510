import numpy as np
import pytest

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.reduction import Geometry, QMap

SHAPE = (40, 50)


def geometry(**changes):
    known = {"center": (20.5, 12.0), "distance_m": 8.0, "energy_kev": 10.9, "pixel_size_m": 55e-6}
    return Geometry(**(known | changes))


def test_q_by_hand():
    """A pixel as far from the beam as the detector is: 2 theta = 45 degrees."""
    q = geometry(center=(0, 0), distance_m=0.02, pixel_size_m=1e-3, energy_kev=12.398419843320026).q((1, 21))
    assert q[0, 0] == 0
    assert q[0, 20] == pytest.approx(4 * np.pi * np.sin(np.pi / 8))


def test_azimuth_is_counter_clockwise_from_the_right():
    phi = geometry(center=(1, 1)).azimuth((3, 3))
    np.testing.assert_allclose(phi[[1, 0, 0, 0, 2, 2], [2, 2, 1, 0, 1, 2]], [0, 45, 90, 135, -90, -45])
    assert abs(phi[1, 0]) == 180


def test_a_tilt_bends_rings_of_q():
    flat, tilted = geometry(distance_m=0.02), geometry(distance_m=0.02, rotations=(0, 0.3, 0))
    assert tilted.q(SHAPE)[12, 20] == pytest.approx(flat.q(SHAPE)[12, 20], rel=0.01), "at the beam"
    assert abs(tilted.q(SHAPE)[39, 20] / flat.q(SHAPE)[39, 20] - 1) > 0.01
    assert QMap.partition(SHAPE, tilted).hash != QMap.partition(SHAPE, flat).hash


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"center": (np.nan, 1)}, "beam centre"),
        ({"center": (1, 2, 3)}, "beam centre"),
        ({"distance_m": 0}, "distance_m is 0"),
        ({"distance_m": np.inf}, "distance_m is inf"),
        ({"energy_kev": -8}, "energy_kev is -8"),
        ({"pixel_size_m": np.nan}, "pixel_size_m is nan"),
        ({"rotations": (0, np.inf, 0)}, "rotations"),
        ({"rotations": (0, 0)}, "rotations"),
    ],
)
def test_impossible_geometries_are_refused(changes, message):
    with pytest.raises(ReductionError, match=message):
        geometry(**changes)


def test_a_partition_in_q_and_phi():
    """Numbers are q major, phi minor; static bins are equal splits of their dynamic bin in both."""
    place = geometry()
    qmap = QMap.partition(
        SHAPE,
        place,
        dynamic_bins=2,
        static_per_dynamic=3,
        phi_bins=4,
        static_phi_per_dynamic=2,
        r_min=2,
        r_max=11,
    )
    q, phi = place.q(SHAPE), place.azimuth(SHAPE)
    edges = np.linspace(place.q_at_radius(2), place.q_at_radius(11), 7)
    used = (q >= edges[0]) & (q < edges[-1])
    ring = np.floor((q - edges[0]) / (edges[1] - edges[0])).astype(int)
    sector = np.minimum((phi + 180) // 45, 7).astype(int)
    np.testing.assert_array_equal(qmap.static, np.where(used, ring * 8 + sector + 1, 0))
    np.testing.assert_array_equal(qmap.dynamic, np.where(used, ring // 3 * 4 + sector // 2 + 1, 0))
    assert qmap.phi.tolist() == [-135, -45, 45, 135] * 2
    assert qmap.static_phi.tolist() == [-157.5, -112.5, -67.5, -22.5, 22.5, 67.5, 112.5, 157.5] * 6
    rings_q = [q[used & (ring == i)].mean() for i in range(6)]
    np.testing.assert_allclose(qmap.static_q, np.repeat(rings_q, 8))
    np.testing.assert_allclose(qmap.q, np.repeat([np.mean(rings_q[:3]), np.mean(rings_q[3:])], 4))
    assert (qmap.unit, qmap.center, qmap.geometry) == ("Å⁻¹", (20.5, 12.0), place)


def test_a_partition_without_phi_has_the_pixels_of_rings():
    rings = QMap.rings(SHAPE, (20.5, 12), r_min=2, r_max=11, dynamic_bins=2)
    near_normal = QMap.partition(SHAPE, geometry(), r_min=2, r_max=11, dynamic_bins=2)
    np.testing.assert_array_equal(near_normal.static, rings.static)
    assert near_normal.phi is None
    assert near_normal.static_phi is None
    np.testing.assert_allclose(near_normal.q / rings.q, geometry().q_at_radius(1), rtol=1e-6)


def test_logarithmic_edges():
    qmap = QMap.partition(
        (201, 201), geometry(center=(100, 100)), dynamic_bins=2, static_per_dynamic=1, r_min=1, r_max=100,
        spacing="log",
    )  # fmt: skip
    y, x = np.indices((201, 201))
    radius = np.hypot(x - 100, y - 100)
    np.testing.assert_array_equal(qmap.dynamic == 1, (radius >= 1) & (radius < 9.99))


def test_limits_in_q_are_those_in_radius_and_the_default_is_the_largest_circle():
    place = geometry()
    by_radius = QMap.partition(SHAPE, place, r_min=2, r_max=11)
    by_q = QMap.partition(SHAPE, place, q_min=place.q_at_radius(2), q_max=place.q_at_radius(11))
    assert by_q.hash == by_radius.hash
    default = QMap.partition(SHAPE, place)
    radius = np.hypot(*(np.indices(SHAPE) - np.array([12, 20.5])[:, None, None]))
    inside = abs(radius - 12.5) > 1e-9  # not on the circle
    np.testing.assert_array_equal(
        default.dynamic[inside] > 0, ((radius >= 12.5 / 8) & (radius < 12.5))[inside]
    )


def test_masked_pixels_and_sectors_off_the_detector_keep_their_numbers():
    mask = np.ones(SHAPE, bool)
    mask[0], mask[:, :25] = False, False
    qmap = QMap.partition(SHAPE, geometry(center=(0, 0)), dynamic_bins=2, phi_bins=4, mask=mask)
    assert np.unique(qmap.dynamic).tolist() == [0, 2, 6], "right of the beam and below: the second sector"
    assert len(qmap.q) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"phi_bins": 0}, "sectors=0"),
        ({"static_phi_per_dynamic": -1}, "static_sectors=-1"),
        ({"dynamic_bins": 0}, "rings=0"),
        ({"q_min": 0.1, "r_min": 3}, "q_min or r_min"),
        ({"q_max": 0.1, "r_max": 3}, "q_max or r_max"),
        ({"q_min": 0.2, "q_max": 0.1}, "rings from 0.2 to 0.1 1/angstrom"),
        ({"q_min": 0, "spacing": "log"}, "need 0 < inner"),
        ({"q_min": 1e-7, "q_max": np.nan}, "rings from"),
        ({"spacing": "cubic"}, "'linear' or 'log'"),
        ({"q_min": 3, "q_max": 4}, "uses no pixel"),
        ({"mask": np.ones((3, 3), bool)}, "the mask"),
        ({"mask": np.zeros(SHAPE, bool)}, "uses no pixel"),
    ],
)
def test_impossible_partitions_are_refused(arguments, message):
    with pytest.raises(ReductionError, match=message):
        QMap.partition(SHAPE, geometry(), **arguments)
