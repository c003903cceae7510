"""Raw files as the facility's detectors write them, for peers that read files."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray


def write_area_detector(path: Path, frames: NDArray[Any]) -> None:
    """HDF5 with frames (n, ny, nx) at ``/entry/data/data``, not compressed."""
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = frames


def write_rigaku(path: Path, words: NDArray[np.uint64]) -> None:
    """Packed events, whose frame numbers begin at 0."""
    words.astype("<u8", copy=False).tofile(path)
