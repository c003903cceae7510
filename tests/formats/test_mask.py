import h5py
import imagecodecs
import numpy as np
import pytest

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.formats import read_mask, write_qmap
from apsdm_bluesky.reduction import QMap

MASK = np.arange(12).reshape(3, 4) % 5 > 0


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.float32])
def test_numpy_files(tmp_path, dtype):
    np.save(tmp_path / "mask.npy", MASK.astype(dtype) * dtype(3) if dtype is not bool else MASK)
    mask = read_mask(tmp_path / "mask.npy")
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, MASK)


@pytest.mark.parametrize("suffix", [".tif", ".TIFF"])
def test_tiff_files(tmp_path, suffix):
    path = tmp_path / f"mask{suffix}"
    path.write_bytes(imagecodecs.tiff_encode(MASK.astype(np.uint8) * 255))
    np.testing.assert_array_equal(read_mask(path), MASK)


def test_the_mask_of_a_qmap_file(tmp_path):
    mask = np.ones((20, 20), bool)
    mask[3] = False
    write_qmap(tmp_path / "qmap.h5", QMap.rings((20, 20), (10, 10), mask=mask))
    np.testing.assert_array_equal(read_mask(tmp_path / "qmap.h5"), mask)
    with h5py.File(tmp_path / "qmap.h5", "a") as file:
        file["qmap/blemish"][5] = False
    mask[5] = False
    np.testing.assert_array_equal(read_mask(tmp_path / "qmap.h5"), mask)


BAD = {
    "mask.png": (b"x", "cannot tell what file this is"),
    "mask.npy": (b"no numpy", "cannot be read as a mask"),
    "mask.tif": (b"II*\0junk", "cannot be read as a mask"),
    "torn.tif": (imagecodecs.tiff_encode(MASK.astype(np.uint8))[:-40], "cannot be read as a mask"),
    "mask.h5": (b"no hdf5", "cannot be read as a mask"),
    "empty.npy": (b"", "cannot be read as a mask"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_mask_is_told_with_its_file(tmp_path, name):
    content, message = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=f"{name}: {message}"):
        read_mask(tmp_path / name)


@pytest.mark.parametrize(
    "array", [np.ones(3), np.ones((2, 3, 4)), np.array([["a"]]), np.array([[1, np.nan]]), np.array([[None]])]
)
def test_arrays_that_are_no_mask(tmp_path, array):
    np.save(tmp_path / "mask.npy", array)
    with pytest.raises(FormatError, match=r"mask\.npy"):
        read_mask(tmp_path / "mask.npy")


def test_files_that_are_not_there(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w"):
        pass
    for name in ("absent.npy", "absent.tif", "absent.h5", "other.h5"):
        with pytest.raises(FormatError, match=name):
            read_mask(tmp_path / name)
