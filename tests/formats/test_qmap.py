import h5py
import numpy as np
import pytest

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.formats import read_qmap, write_qmap
from apsdm_bluesky.reduction import Geometry, QMap

SHAPE = (6, 8)


def content(**changes):
    """A partition of 2 x 2 dynamic bins (q, phi), one of them behind the mask, with 4 x 2 static bins."""
    row, column = np.indices(SHAPE)
    half = column // 4
    mask = np.ones(SHAPE, bool)
    mask[:3, :4] = False
    dynamic, dynamic_mapping = compress((row // 3) * 2 + half, mask)
    static, static_mapping = compress(np.minimum(row, 3) * 2 + half, mask)
    return {
        "mask": mask,
        "blemish": mask,
        "dynamic_roi_map": dynamic.astype(np.uint8),
        "static_roi_map": static.astype(np.uint8),
        "dynamic_num_pts": np.array([2, 2]),
        "static_num_pts": np.array([4, 2]),
        "dynamic_index_mapping": dynamic_mapping.astype(np.uint8),
        "static_index_mapping": static_mapping.astype(np.uint8),
        "dynamic_v_list_dim0": np.array([0.01, 0.02]),
        "static_v_list_dim0": np.array([0.008, 0.01, 0.012, 0.02]),
        "dynamic_v_list_dim1": np.array([-90.0, 90.0]),
        "static_v_list_dim1": np.array([-90.0, 90.0]),
        "beam_center_x": 3.25,
        "beam_center_y": 2.5,
        "map_names": ["q", "phi"],
        "map_units": ["Å⁻¹", "deg"],
    } | changes


def compress(partition, mask):
    """Bins renumbered without the empty ones, as pySimpleMask does, and their numbers in the full grid."""
    numbers, inverse = np.unique(np.where(mask, partition, -1), return_inverse=True)
    return inverse.reshape(partition.shape), numbers[1:]


def write(path, data):
    with h5py.File(path, "w") as file:
        for name, values in data.items():
            if values is not None:
                file[f"qmap/{name}"] = values
    return path


def test_a_partition(tmp_path):
    data = content()
    qmap = read_qmap(write(tmp_path / "qmap.h5", data))
    np.testing.assert_array_equal(qmap.dynamic, data["dynamic_roi_map"])
    np.testing.assert_array_equal(qmap.static, data["static_roi_map"])
    np.testing.assert_array_equal(qmap.mask, data["mask"])
    assert qmap.q.tolist() == [0.01, 0.02, 0.02]  # (q, phi) = (0, 0) is masked
    assert qmap.static_q.tolist() == [0.008, 0.01, 0.012, 0.02, 0.02]
    assert qmap.parents.tolist() == [1, 1, 1, 2, 3]
    assert qmap.phi.tolist() == [90, -90, 90]
    assert qmap.static_phi.tolist() == [90, 90, 90, -90, 90]
    assert (qmap.unit, qmap.center, qmap.geometry) == ("Å⁻¹", (3.25, 2.5), None)


def test_what_older_files_lack(tmp_path):
    names = ("blemish", "map_names", "dynamic_v_list_dim1", "static_v_list_dim1")
    one_sector = {
        "dynamic_num_pts": np.array([2, 1]), "static_num_pts": np.array([4, 1]),
        "dynamic_index_mapping": np.array([0, 1, 1]), "static_index_mapping": np.array([0, 1, 2, 3, 3]),
    }  # fmt: skip
    qmap = read_qmap(write(tmp_path / "qmap.h5", content(**one_sector, **dict.fromkeys(names))))
    assert qmap.q.tolist() == [0.01, 0.02, 0.02]
    assert qmap.phi is None
    assert qmap.static_phi is None


def test_a_partition_in_x_and_y_has_no_phi(tmp_path):
    assert read_qmap(write(tmp_path / "qmap.h5", content(map_names=["x", "y"]))).phi is None


def test_blemishes_are_masked(tmp_path):
    blemish = np.ones(SHAPE, bool)
    blemish[5, 7] = False
    qmap = read_qmap(write(tmp_path / "qmap.h5", content(blemish=blemish)))
    np.testing.assert_array_equal(qmap.mask, content()["mask"] & blemish)
    assert qmap.dynamic[5, 7] == 0


def test_the_geometry(tmp_path):
    place = {"pixel_size": 55e-6, "detector_distance": 8.0, "energy": 10.9}
    qmap = read_qmap(write(tmp_path / "qmap.h5", content(**place)))
    assert qmap.geometry == Geometry(center=(3.25, 2.5), distance_m=8.0, energy_kev=10.9, pixel_size_m=55e-6)


def place(**changes):
    known = {"center": (20.5, 12.0), "distance_m": 8.0, "energy_kev": 10.9, "pixel_size_m": 55e-6}
    return Geometry(**(known | changes))


MAPS = {
    "rings": QMap.rings((40, 50), (20.5, 12), dynamic_bins=3),
    "q": QMap.partition((40, 50), place()),
    "q and phi": QMap.partition((40, 50), place(), phi_bins=4, static_phi_per_dynamic=2, spacing="log"),
    "static phi only": QMap.partition((40, 50), place(), static_phi_per_dynamic=3),
    "tilted": QMap.partition((40, 50), place(rotations=(0.1, -0.02, 0.3))),
    "300 bins": QMap.partition((40, 50), place(), dynamic_bins=4, static_per_dynamic=3, phi_bins=25),
    "corner": QMap.partition((40, 50), place(center=(-3, -2)), phi_bins=4, mask=np.eye(40, 50) == 0),
    "a bin lost": QMap.rings((40, 50), (20, 12)).without(QMap.rings((40, 50), (20, 12)).dynamic == 2),
}


@pytest.mark.parametrize("name", MAPS)
def test_what_is_written_is_read_back_equal(tmp_path, name):
    qmap = MAPS[name]
    write_qmap(tmp_path / "qmap.h5", qmap)
    back = read_qmap(tmp_path / "qmap.h5")
    assert back.hash == qmap.hash
    assert back.geometry == qmap.geometry
    for field in ("dynamic", "static", "mask", "q", "static_q", "phi", "static_phi"):
        np.testing.assert_array_equal(getattr(back, field), getattr(qmap, field))


def test_the_layout_is_that_of_pysimplemask(tmp_path):
    qmap = MAPS["q and phi"]
    write_qmap(tmp_path / "qmap.h5", qmap)
    with h5py.File(tmp_path / "qmap.h5") as file:
        group = file["qmap"]
        assert set(group) == {*content(), "pixel_size", "detector_distance", "energy"}
        assert group.attrs["hash"] == qmap.hash
        assert group["mask"].dtype == group["blemish"].dtype == bool
        assert group["static_roi_map"].dtype == np.uint8
        assert group["dynamic_num_pts"][()].tolist() == [8, 4]
        assert group["static_num_pts"][()].tolist() == [24, 8]
        np.testing.assert_array_equal(group["static_index_mapping"], np.arange(24 * 8))
        assert group["dynamic_v_list_dim1"][()].tolist() == [-135, -45, 45, 135]
        assert dict(group["static_v_list_dim0"].attrs) == {"name": "q", "unit": "Å⁻¹", "size": 24}
        assert dict(group["static_v_list_dim1"].attrs) == {"name": "phi", "unit": "deg", "size": 8}


def test_a_copy_in_a_result_file(tmp_path):
    with h5py.File(tmp_path / "result.h5", "w") as file:
        write_qmap(file.create_group("xpcs/qmap"), MAPS["q"])
    assert read_qmap(tmp_path / "result.h5").hash == MAPS["q"].hash


def test_an_existing_file_is_left_alone(tmp_path):
    path = tmp_path / "qmap.h5"
    write_qmap(path, MAPS["q"])
    with pytest.raises(FormatError, match=r"qmap\.h5: cannot be written .* new file"):
        write_qmap(path, MAPS["rings"])
    assert read_qmap(path).hash == MAPS["q"].hash


def test_bins_masked_later_stay_empty(tmp_path):
    """A mask that was drawn over the partition afterwards leaves numbers without pixels."""
    mask = content()["mask"].copy()
    mask[:3] = False
    qmap = read_qmap(write(tmp_path / "qmap.h5", content(mask=mask.astype(np.uint8))))
    assert qmap.q.tolist() == [0.01, 0.02, 0.02]
    assert np.unique(qmap.dynamic).tolist() == [0, 2, 3]
    assert qmap.parents.tolist() == [0, 0, 0, 2, 3]


def changed(name, *where_and_value):
    values = content()[name].copy()
    where, value = where_and_value
    values[where] = value
    return {name: values}


BAD = {
    "missing": ({"mask": None, "beam_center_x": None}, "/qmap lacks mask, beam_center_x"),
    "flat map": ({"dynamic_roi_map": np.zeros(48, np.uint8)}, "/qmap/dynamic_roi_map has shape"),
    "float map": ({"static_roi_map": np.zeros(SHAPE)}, "/qmap/static_roi_map .* float64"),
    "other shape": (
        {"mask": np.ones((8, 6), bool), "blemish": None},
        "/qmap cannot be used: dynamic map has shape",
    ),
    "null dataset": ({"mask": h5py.Empty("u1")}, "/qmap/mask has shape None"),
    "other blemish": ({"blemish": np.ones((8, 6), bool)}, r"/qmap/blemish has shape \(8, 6\)"),
    "bin without pixels": (
        changed("dynamic_roi_map", content()["dynamic_roi_map"] == 2, 3)
        | changed("static_roi_map", np.isin(content()["static_roi_map"], [2, 3]), 4),
        "/qmap/dynamic_roi_map has no pixel in bin 2 of 3",
    ),
    "static bins without pixels": (
        changed("static_roi_map", content()["static_roi_map"] == 3, 2)
        | {
            "static_index_mapping": np.arange(8),
            "dynamic_roi_map": np.minimum(content()["dynamic_roi_map"], 1),
        }
        | {"dynamic_index_mapping": np.array([0])},
        "/qmap/static_roi_map has no pixel in bin 3, 6, 7, 8 of 8",
    ),
    "no list of phi": ({"static_v_list_dim1": None}, "/qmap lacks static_v_list_dim1"),
    "short list of phi": ({"static_v_list_dim1": np.zeros(1)}, "static_v_list_dim1 has the length 1"),
    "half a geometry": ({"energy": 11.0, "pixel_size": 1e-4}, "/qmap has pixel_size, energy but lacks det"),
    "no distance": (
        {"energy": 11.0, "pixel_size": 1e-4, "detector_distance": 0.0},
        "/qmap cannot be used: distance_m is 0",
    ),
    "a group for a mask": ({"blemish": None, "blemish/x": 1}, "/qmap/blemish is no dataset"),
    "text centre": ({"beam_center_x": "three"}, "/qmap/beam_center_x"),
    "nested twice": (changed("static_roi_map", (0, 4), 4), "static bin 4 lies in dynamic bins 1, 2"),
    "static only": (changed("dynamic_roi_map", (5, 7), 0), r"pixel \(x=7, y=5\)"),
    "more bins than q": (changed("dynamic_roi_map", (5, 7), 9), "bins 0 to 9"),
    "nothing used": ({"mask": np.zeros(SHAPE, bool)}, "uses no pixel"),
    "short q list": ({"dynamic_v_list_dim0": np.array([0.01])}, "/qmap/dynamic_num_pts"),
    "one-dimensional grid": ({"static_num_pts": np.array([8])}, "/qmap/static_num_pts"),
    "mapping outside": ({"static_index_mapping": np.array([2, 3, 4, 5, 99])}, "/qmap/static_index_mapping"),
    "no mapping": ({"dynamic_index_mapping": np.array([], int)}, "/qmap/dynamic_index_mapping"),
    "no units": ({"map_units": np.array([], "S1")}, "/qmap/map_units"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_partition_is_told_with_file_and_dataset(tmp_path, name):
    changes, message = BAD[name]
    path = write(tmp_path / "qmap.h5", content(**changes))
    with pytest.raises(FormatError, match=f"qmap.h5: .*{message}.*; save the partition again") as caught:
        read_qmap(path)
    assert "\n" not in str(caught.value)


def test_an_absurd_size_is_refused_unread(tmp_path):
    path = write(tmp_path / "qmap.h5", content(mask=None))
    with h5py.File(path, "a") as file:
        file.create_dataset("qmap/mask", shape=(2**20, 2**20), chunks=(1024, 1024), dtype="u1")
    with pytest.raises(FormatError, match="/qmap/mask has shape"):
        read_qmap(path)


def test_what_is_no_qmap_file(tmp_path):
    (tmp_path / "text.h5").write_text("not HDF5")
    (tmp_path / "empty.h5").touch()
    h5py.File(tmp_path / "other.h5", "w").close()
    for name in ("text.h5", "empty.h5", "other.h5", "absent.h5", "."):
        with pytest.raises(FormatError, match="q-map file of pySimpleMask"):
            read_qmap(tmp_path / name)


def test_a_torn_file_is_refused_wherever_it_ends(tmp_path):
    whole = write(tmp_path / "whole.h5", content()).read_bytes()
    torn = tmp_path / "torn.h5"
    for size in range(0, len(whole) - 1, 1000):
        torn.write_bytes(whole[:size])
        with pytest.raises(FormatError, match=r"torn\.h5"):
            read_qmap(torn)


def test_a_damaged_datatype_is_refused(tmp_path):
    """A flipped byte in the exponent's bias makes a number that numpy cannot hold."""
    path = write(tmp_path / "qmap.h5", content(beam_center_x=None))
    datatype = h5py.h5t.IEEE_F64LE.copy()
    datatype.set_ebias(65000)
    with h5py.File(path, "a") as file:
        h5py.h5d.create(file["qmap"].id, b"beam_center_x", datatype, h5py.h5s.create(h5py.h5s.SCALAR))
    with pytest.raises(FormatError, match="cannot be read as HDF5"):
        read_qmap(path)
