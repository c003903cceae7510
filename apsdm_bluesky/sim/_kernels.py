"""The compiled loops of the speckle simulation: counter-based random numbers, AR(1) fields, Poisson counts.

Every random number is a hash of (series, frame, pixel), so a frame does not depend on how frames are asked
for. One 64-bit word serves one pixel of one frame: 12 + 12 bits select two normal variates from a table of
quantiles, 24 bits are the uniform variate that becomes a Poisson count.
"""

import math
from statistics import NormalDist

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["advance", "normal_table"]

_NORMALS = 4096
_SATURATION = 65535
_TILE = 1024  # pixels worked on at once: what a tile needs stays in the first-level cache
_INVERSION_LIMIT = np.float32(12.0)  # with a larger mean, rejection costs less than inversion
_UNSETTLED = np.uint16(4)  # the vector loop counts to 3; what is left goes on one by one

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def normal_table() -> NDArray[np.float32]:
    """Equally probable values of a normal variate, shape (4096,), with exact second and fourth moments.

    Quantiles at the middle of their cells lack the far tails. The outermost pair and the scale are solved for
    so that the moments are 1 and 3. Fourth cumulants add, so an AR(1) field keeps a Gaussian one's contrast.
    """
    n = _NORMALS
    quantile = NormalDist().inv_cdf
    inner = np.array([quantile((i + 0.5) / n) for i in range(n // 2, n - 1)])
    s2, s4 = 2 * np.sum(inner**2), 2 * np.sum(inner**4)
    # n (s4 + 2 u^2) = 3 (s2 + 2 u)^2, where u is the square of the outermost value
    u = max(np.roots([2 * n - 12, -12 * s2, n * s4 - 3 * s2**2]))
    half = np.append(inner, math.sqrt(u)) * math.sqrt(n / (s2 + 2 * u))
    return np.concatenate([-half[::-1], half]).astype(np.float32)


@numba.njit(inline="always")
def _mix(z):  # type: ignore[no-untyped-def]
    """Splitmix64's finalizer (Steele, Lea, Flood, OOPSLA 2014): 64 bits in, 64 well mixed bits out."""
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


@numba.njit(inline="always")
def _uniform(word):  # type: ignore[no-untyped-def]
    """A double in (0, 1) from the upper bits of a 64-bit word."""
    return (np.float64(word >> np.uint64(11)) + 0.5) / (1 << 53)


@numba.njit
def _inverted(mean, u):  # type: ignore[no-untyped-def]
    """Poisson count by inversion, for a mean below `_INVERSION_LIMIT`."""
    p = math.exp(-mean)
    cdf, k = p, 0
    while u >= cdf:
        k += 1
        p *= mean / k
        cdf += p
    return k


@numba.njit
def _rejected(mean, word):  # type: ignore[no-untyped-def]
    """Poisson count by rejection: algorithm PTRS of Hoermann, Insurance: Math. Econ. 12 (1993) 39."""
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    squeeze = 0.9277 - 3.6224 / (b - 2.0)
    log_mean = math.log(mean)
    while True:
        word = _mix(word + _GOLDEN)
        u = _uniform(word) - 0.5
        word = _mix(word + _GOLDEN)
        v = _uniform(word)
        us = 0.5 - abs(u)
        k = math.floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= squeeze:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        bound = k * log_mean - mean - math.lgamma(k + 1.0)
        if math.log(v * inverse_alpha / (a / (us * us) + b)) <= bound:
            return k


@numba.njit
def _draw_fields(words, field_x, field_y, decay, noise, table, key, first):  # type: ignore[no-untyped-def]
    """One AR(1) step of a tile; leaves the random words for `_draw_counts`."""
    for i in range(decay.size):
        word = _mix(key + np.uint64(first + i) * _GOLDEN)
        words[i] = word
        x, y = field_x[i], field_y[i]
        # E - (1 - rho) E, not rho E: 1 - rho keeps its precision where the decay is slow
        field_x[i] = x + (noise[i] * table[word >> np.uint64(52)] - decay[i] * x)
        field_y[i] = y + (noise[i] * table[(word >> np.uint64(40)) & np.uint64(_NORMALS - 1)] - decay[i] * y)


@numba.njit
def _draw_counts(out, words, intensity):  # type: ignore[no-untyped-def]
    """Poisson counts of a tile. The first loop is free of branches, so it runs in vector registers."""
    one = np.float32(1.0)
    for i in range(out.size):
        mean = intensity[i]
        # exp(-mean) = (Taylor polynomial at mean / 64) ^ 64: to 4e-7 of the cumulative probability
        x = mean * np.float32(1 / 64)
        p = one - x * (one - x * (np.float32(1 / 2) - x * (np.float32(1 / 6) - x * np.float32(1 / 24))))
        p = p * p
        p = p * p
        p = p * p
        p = p * p
        p = p * p
        p = p * p
        u = np.float32(np.int32(words[i] & np.uint64(0xFFFFFF))) * np.float32(1 / (1 << 24))
        cdf = p
        k = np.uint16(u >= cdf)
        p = p * mean
        cdf = cdf + p
        k += np.uint16(u >= cdf)
        p = p * mean * np.float32(1 / 2)
        cdf = cdf + p
        k += np.uint16(u >= cdf)
        p = p * mean * np.float32(1 / 3)
        cdf = cdf + p
        k += np.uint16(u >= cdf)
        out[i] = _UNSETTLED if mean >= _INVERSION_LIMIT else k
    for i in range(out.size):
        if out[i] == _UNSETTLED:
            mean = np.float64(intensity[i])
            if mean < _INVERSION_LIMIT:
                u = (words[i] & np.uint64(0xFFFFFF)) * (1 / (1 << 24))
                out[i] = _inverted(mean, u)
            else:
                out[i] = min(_rejected(mean, words[i]), _SATURATION)


@numba.njit(nogil=True, cache=True)
def advance(out, field_x, field_y, decay, mean, contrast_root, table, series, index):  # type: ignore[no-untyped-def]
    """Advance the fields by `len(out)` frames and draw their counts.

    Parameters
    ----------
    out
        Shape (n, pixels), uint16, overwritten. Counts saturate at 65535.
    field_x, field_y
        Shape (pixels,), float32, parts of the field with unit variance each; updated in place.
    decay, mean
        Shape (pixels,), float32: 1 - rho of the AR(1) process, and the mean counts.
    contrast_root
        float32, the square root of the speckle contrast.
    table
        As made by `normal_table`.
    series, index
        uint64 identity of the acquisition, and the index of the first frame of `out`.
    """
    pixels = decay.size
    words = np.empty(_TILE, np.uint64)
    noise = np.empty(_TILE, np.float32)
    intensity = np.empty(_TILE, np.float32)
    half = np.float32(0.5) * contrast_root
    for a in range(0, pixels, _TILE):
        b = min(a + _TILE, pixels)
        fx, fy = field_x[a:b], field_y[a:b]
        for i in range(b - a):
            noise[i] = math.sqrt(decay[a + i] * (np.float32(2.0) - decay[a + i]))  # 1 - rho^2
        for f in range(out.shape[0]):
            key = _mix(series + (index + np.uint64(f)) * _GOLDEN)
            _draw_fields(words, fx, fy, decay[a:b], noise, table, key, a)
            for i in range(b - a):
                square = fx[i] * fx[i] + fy[i] * fy[i]
                intensity[i] = mean[a + i] * (np.float32(1.0) - contrast_root + half * square)
            _draw_counts(out[f, a:b], words, intensity)
