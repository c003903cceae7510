import h5py
import numpy as np
import pytest

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.formats import read_qmap

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
    assert (qmap.unit, qmap.center) == ("Å⁻¹", (3.25, 2.5))


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
    "other shape": ({"mask": np.ones((8, 6), bool)}, "/qmap cannot be used: dynamic map has shape"),
    "null dataset": ({"mask": h5py.Empty("u1")}, "/qmap/mask has shape None"),
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
