"""TIFF files, as images of one file each."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError


def tiff_image(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of a file's image; of several of one size, the first axis counts them.

    Raises
    ------
    FormatError
        The file is no readable TIFF, or its pixels are not all there.
    """
    try:
        with tifffile.TiffFile(path) as file:
            image = file.series[0]
            shape, dtype = tuple(int(n) for n in image.shape), np.dtype(image.dtype)
            end = max((_end(page) for page in image.pages if page is not None), default=0)
        size = path.stat().st_size
    except Exception as error:  # tifffile raises what it meets in a file that is none
        raise _unreadable(path, error) from error
    if end > size:
        raise FormatError(f"{path}: has {size} bytes, but its pixels end at byte {end}; it was cut short")
    return shape, dtype


def read_tiff(path: Path) -> NDArray[Any]:
    """The image of a file.

    Raises
    ------
    FormatError
        The file is no readable TIFF.
    """
    try:
        image: NDArray[Any] = tifffile.imread(path)
    except Exception as error:
        raise _unreadable(path, error) from error
    return image


def _end(page: Any) -> int:
    """Behind the last byte of a page's pixels."""
    pairs = zip(page.dataoffsets, page.databytecounts, strict=False)
    return max((offset + count for offset, count in pairs), default=0)


def _unreadable(path: Path, error: Exception) -> FormatError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return FormatError(f"{path}: is no readable TIFF file ({reason})")
