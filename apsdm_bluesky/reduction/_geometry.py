"""Where scattering goes: the place of a flat detector, and q and azimuth of its pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError

Floats = NDArray[np.float64]
Center = tuple[float, float]

# h c of CODATA 2018, exact by the definition of the SI [keV angstrom].
HC_KEV_ANGSTROM = 12.398419843320026
# The unit of q that comes from a geometry, as pySimpleMask writes it.
Q_UNIT = "Å⁻¹"


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """A flat detector with square pixels in transmission.

    Parameters
    ----------
    center
        Where the direct beam hits: (x, y) = (column, row) [px]; whole numbers are pixel centres.
    distance_m
        From the sample to that point [m].
    energy_kev
        Photon energy [keV].
    pixel_size_m
        Side of a pixel [m].
    rotations
        rot1, rot2, rot3 as pyFAI defines them (about the vertical axis, the horizontal one, the beam) [rad].
        Zeros: the detector is normal to the beam and its rows are horizontal.

    Raises
    ------
    ReductionError
        A number is not finite; distance, energy or pixel size is not above 0.
    """

    center: Center
    distance_m: float
    energy_kev: float
    pixel_size_m: float
    rotations: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        check_center(self.center)
        object.__setattr__(self, "center", tuple(float(part) for part in self.center))
        object.__setattr__(self, "rotations", tuple(float(angle) for angle in self.rotations))
        if len(self.rotations) != 3 or not np.isfinite(self.rotations).all():
            raise ReductionError(f"rotations {self.rotations}: give three finite angles in radians")
        for name in ("distance_m", "energy_kev", "pixel_size_m"):
            value = float(getattr(self, name))
            if not 0 < value < np.inf:
                raise ReductionError(f"{name} is {value:g}: give a number above 0")
            object.__setattr__(self, name, value)

    @property
    def wavelength_angstrom(self) -> float:
        """Wavelength [1e-10 m]."""
        return HC_KEV_ANGSTROM / self.energy_kev

    def q(self, shape: tuple[int, int]) -> Floats:
        """Shape (ny, nx): ``q = 4 pi / lambda sin(theta)`` at the pixel centres [1/angstrom].

        2 theta is the angle between the direct beam and the way from the sample to the pixel (Als-Nielsen and
        McMorrow, Elements of Modern X-ray Physics, section 1.2).
        """
        up, right, along = self._positions(shape)
        theta = np.arctan2(np.hypot(up, right), along) / 2
        q: Floats = 4 * np.pi / self.wavelength_angstrom * np.sin(theta)
        return q

    def q_at_radius(self, radius_px: float) -> float:
        """The q [1/angstrom] at a radius about the beam, on a detector normal to it at `distance_m`."""
        theta = np.arctan(radius_px * self.pixel_size_m / self.distance_m) / 2
        return float(4 * np.pi / self.wavelength_angstrom * np.sin(theta))

    def azimuth(self, shape: tuple[int, int]) -> Floats:
        """Shape (ny, nx): angle about the beam, from -180 to 180 [degree].

        0 is where columns increase, 90 where rows decrease: counter-clockwise in an image whose row 0 is at
        the top, as in pySimpleMask.
        """
        down, right, _ = self._positions(shape)
        phi: Floats = np.rad2deg(np.arctan2(-down, right))
        return phi

    def _positions(self, shape: tuple[int, int]) -> tuple[Floats, Floats, Floats]:
        """Pixel centres seen from the sample [m]: along the rows' axis, the columns' axis and the beam.

        The direct beam's spot plus the way on the detector, rotated as pyFAI does (Kieffer and Karkoulis,
        J. Phys.: Conf. Ser. 425, 202012 (2013)): about axis 1, then 2, then 3.
        """
        y, x = np.indices(shape)
        down = (y - self.center[1]) * self.pixel_size_m
        right = (x - self.center[0]) * self.pixel_size_m
        matrix = _rotation(*self.rotations)
        rotated = [row[0] * down + row[1] * right for row in matrix]
        return rotated[0], rotated[1], rotated[2] + self.distance_m


def check_center(center: Center) -> None:
    """Refuse a beam centre that is not two finite numbers."""
    if len(center) != 2 or not np.isfinite(center).all():
        raise ReductionError(f"beam centre {center}: give two finite numbers, (column, row) in pixels")


def _rotation(rot1: float, rot2: float, rot3: float) -> Floats:
    """The matrix R3 R2 R1; pyFAI's first two rotations are left-handed."""
    (c1, c2, c3), (s1, s2, s3) = np.cos([rot1, rot2, rot3]), np.sin([rot1, rot2, rot3])
    about1 = np.array([[1, 0, 0], [0, c1, s1], [0, -s1, c1]])
    about2 = np.array([[c2, 0, -s2], [0, 1, 0], [s2, 0, c2]])
    about3 = np.array([[c3, -s3, 0], [s3, c3, 0], [0, 0, 1]])
    rotation: Floats = about3 @ about2 @ about1
    return rotation
