"""A sample with a known answer: dynamic speckle of diffusing particles on a photon-counting area detector."""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.config import SimulationConfig

from ._kernels import advance, normal_table

__all__ = ["SpeckleSample", "SpeckleSeries"]

_table = functools.cache(normal_table)


class SpeckleSample:
    """Speckle whose intensity correlation is known: ``g2(tau) = 1 + contrast * exp(-2 gamma(r) tau)``.

    Each pixel is a speckle of its own. Its field E is a complex Gaussian AR(1) process with ``<|E|^2> = 1``
    and ``|g1(tau)| = exp(-gamma tau)``, tau in frames, ``gamma = diffusion * r^2`` (Brownian motion: Berne
    and Pecora, Dynamic Light Scattering, 1976). Its intensity is
    ``mean * ((1 - sqrt(contrast)) + sqrt(contrast) * |E|^2)``: a flat incoherent part lowers the contrast and
    leaves the decay a single exponential. Counts are Poisson, uint16, and saturate at 65535. The mean falls
    with r as a Lorentzian, from `mean_counts` at the rim of the beam stop to about half of it at the edge of
    the detector. Beam stop and dead pixels read 0.

    Attributes
    ----------
    shape
        Rows, columns.
    center
        Beam centre (x, y) = (column, row) [px].
    radius
        Shape (ny, nx), float64: distance of each pixel to the centre [px].
    mask
        Shape (ny, nx), bool: True where a pixel counts (not dead, not behind the beam stop).
    mean
        Shape (ny, nx), float32: expected counts a frame.
    """

    def __init__(self, config: SimulationConfig) -> None:
        self.shape = config.shape
        ny, nx = config.shape
        self.center = config.center or ((nx - 1) / 2, (ny - 1) / 2)
        self._seed = config.seed
        self._diffusion = config.diffusion
        self._contrast_root = np.float32(np.sqrt(config.contrast))
        y, x = np.ogrid[:ny, :nx]
        self.radius = np.hypot(x - self.center[0], y - self.center[1])
        dead = np.random.default_rng(self._seed).random(config.shape) < config.dead_fraction
        self.mask: NDArray[np.bool_] = ~dead & (self.radius >= config.beam_stop_radius)
        rim, width = config.beam_stop_radius, min(config.shape) / 2
        profile = (width**2 + rim**2) / (width**2 + self.radius**2)
        self.mean = np.where(self.mask, config.mean_counts * profile, 0.0).astype(np.float32)
        self._decay = (-np.expm1(-self.gamma(self.radius))).astype(np.float32).ravel()

    def gamma(self, r: Any) -> Any:
        """Decay rate of the field at distance `r` [px] from the centre: ``diffusion * r^2`` [1/frame].

        In a ring of finite width the rates differ by ``2 dr / r``: compare fits of narrow rings only.
        """
        return self._diffusion * np.square(r)

    def series(self, first_id: int) -> "SpeckleSeries":
        """The frames of one acquisition, in order: they depend only on the sample, `first_id` and index."""
        return SpeckleSeries(self._seed, first_id, self.mean, self._decay, self._contrast_root)


class SpeckleSeries:
    """The frames of one acquisition; holds the state of the fields. Get it from `SpeckleSample.series`."""

    def __init__(
        self,
        seed: int,
        first_id: int,
        mean: NDArray[np.float32],
        decay: NDArray[np.float32],
        contrast_root: np.float32,
    ) -> None:
        # A frame number that was written to the camera may be negative: it counts modulo 2^32.
        sequence = np.random.SeedSequence([seed, first_id & 0xFFFFFFFF])
        self._key = sequence.generate_state(1, np.uint64)[0]
        self._mean, self._decay, self._contrast_root = mean.ravel(), decay, contrast_root
        rng = np.random.default_rng(sequence.spawn(1)[0])
        self._x, self._y = rng.standard_normal((2, mean.size), dtype=np.float32)
        self._index = np.uint64(0)

    def fill(self, out: NDArray[np.uint16]) -> None:
        """Write the next ``len(out)`` frames into `out`, shape (n, ny, nx), C-contiguous."""
        flat = out.reshape(len(out), self._mean.size, copy=False)
        state = (self._x, self._y, self._decay, self._mean, self._contrast_root)
        advance(flat, *state, _table(), self._key, self._index)
        self._index += np.uint64(len(out))
