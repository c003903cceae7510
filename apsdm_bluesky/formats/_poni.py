"""Geometries as pyFAI writes them (.poni)."""

from pathlib import Path
from typing import Any

import numpy as np

from apsdm_bluesky.errors import FormatError, ReductionError
from apsdm_bluesky.reduction import HC_KEV_ANGSTROM, Geometry

_METRES_PER_ANGSTROM = 1e-10
_NUMBERS = ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
# pyFAI's number for pixels that are counted from the corner where the image begins.
_NATIVE = 3


def read_poni(path: Path) -> Geometry:
    """Read a .poni file (versions 1 to 2.1) with pyFAI, tilts included.

    pyFAI knows what the text alone does not: the pixel size of a detector that is given by its name. It
    counts pixels from their corners, we from their centres.

    Raises
    ------
    FormatError
        pyFAI is not installed or cannot read the file; wavelength, distance or pixel size is missing; the
        pixels are not square or not on one regular grid; rows or columns are counted from another corner.
    """
    try:
        from pyFAI.io.ponifile import PoniFile
    except ImportError as error:
        raise FormatError(
            f"{path}: pyFAI is needed to read it; install it with pip install 'apsdm-bluesky[pyfai]'"
        ) from error
    try:
        poni = PoniFile(str(path))
    except Exception as error:  # pyFAI has no type of its own: KeyError, ValueError, RuntimeError, ...
        raise _error(path, f"pyFAI cannot read it ({type(error).__name__}: {_first_line(error)})") from error
    _check(path, poni)
    try:
        return _geometry(poni)
    except ReductionError as error:
        raise _error(path, str(error)) from error


def _check(path: Path, poni: Any) -> None:
    detector = poni.detector
    missing = [name for name in _NUMBERS if getattr(poni, name) is None]
    if not (detector and detector.pixel1 and detector.pixel2):
        missing.append("pixel size")
    if poni.wavelength == 0:
        missing.append("wavelength above 0")
    if missing:
        raise _error(path, f"has no {', '.join(missing)}")
    if detector.pixel1 != detector.pixel2:
        raise _error(path, f"has pixels of {detector.pixel1:g} x {detector.pixel2:g} m: they must be square")
    if not (detector.IS_FLAT and detector.uniform_pixel) or detector.splinefile:
        raise _error(path, f"{detector.name}: the pixels must lie on one flat, regular grid")
    if detector.orientation not in (0, _NATIVE):
        raise _error(
            path, f"has orientation {int(detector.orientation)}: {_NATIVE} is needed, the native one"
        )


def _geometry(poni: Any) -> Geometry:
    """The place that the direct beam hits, from the point of normal incidence: the same without a tilt."""
    distance = poni.dist / (np.cos(poni.rot1) * np.cos(poni.rot2))
    down = poni.poni1 + distance * np.sin(poni.rot2)
    right = poni.poni2 - distance * np.cos(poni.rot2) * np.sin(poni.rot1)
    pixel = poni.detector.pixel1
    return Geometry(
        center=(right / pixel - 0.5, down / pixel - 0.5),
        distance_m=distance,
        energy_kev=HC_KEV_ANGSTROM / (poni.wavelength / _METRES_PER_ANGSTROM),
        pixel_size_m=pixel,
        rotations=(poni.rot1, poni.rot2, poni.rot3),
    )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _error(path: Path, problem: str) -> FormatError:
    return FormatError(f"{path}: {problem}; save the geometry again with pyFAI-calib2")
