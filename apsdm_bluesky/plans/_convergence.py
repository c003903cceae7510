"""When a correlation is known well enough: targets, and how far a running result is from them."""

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import ReductionError
from apsdm_bluesky.reduction import MultiTauResult, fit_decays

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What is to be known, and how well; see `acquire_until_converged`."""

    rate_error: float | None = None
    g2_error: float | None = None
    delay: int | None = None
    bins: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        errors = [error for error in (self.rate_error, self.g2_error) if error is not None]
        if not errors or not all(0 < error < math.inf for error in errors):
            raise ValueError(f"rate_error {self.rate_error}, g2_error {self.g2_error}: give one above 0")
        if self.bins is not None and (not self.bins or min(self.bins) < 1):
            raise ValueError(f"bins {list(self.bins)}: give dynamic bins, counted from 1")
        if self.delay is not None and self.delay < 1:
            raise ValueError(f"delay {self.delay}: give a number of frames")

    def bins_in(self, result: MultiTauResult) -> NDArray[np.int64]:
        """Indices of the bins that count.

        Raises
        ------
        ReductionError
            The q-map has not all of them.
        """
        number = len(result.q)
        bins = np.arange(number) if self.bins is None else np.array(self.bins) - 1
        if bins.max() >= number:
            raise ReductionError(f"bins {list(self.bins or ())}: the q-map has {number}")
        return bins


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A running result against its targets.

    Parameters
    ----------
    frames
        Reduced by then.
    rate, rate_error
        Shape (n,): the fitted rate of each bin [1/frame], and its relative standard error, by jackknife.
        None where no target asks for it.
    g2_error
        Shape (n,): standard error of g2, by jackknife, relative to the contrast. None as above.
    """

    targets: Targets
    frames: int
    rate: Floats | None = None
    rate_error: Floats | None = None
    g2_error: Floats | None = None

    @property
    def converged(self) -> bool:
        """Whether every bin has reached every target. What is not known has not."""
        return all((error <= target).all() for _, error, target in self._compared())

    def __str__(self) -> str:
        """The bin that is furthest from each target."""
        return ", ".join(
            f"{name} error {_percent(error.max())} (target {_percent(target)})"
            for name, error, target in self._compared()
        )

    def data(self) -> dict[str, Any]:
        """Of an event."""
        rate = {} if self.rate is None else {"rate": self.rate}
        compared = {
            key: value
            for name, error, target in self._compared()
            for key, value in ((f"{name}_error", error), (f"{name}_error_target", target))
        }
        return {"frames": self.frames, "converged": self.converged, **rate, **compared}

    def _compared(self) -> list[tuple[str, Floats, float]]:
        pairs = (
            ("rate", self.rate_error, self.targets.rate_error),
            ("g2", self.g2_error, self.targets.g2_error),
        )
        return [
            (name, error, target) for name, error, target in pairs if error is not None and target is not None
        ]


def check(result: MultiTauResult, targets: Targets) -> Check:
    """Fit what is asked for, in the bins that count only: a fit takes a tenth of a second a bin."""
    mine = _of_bins(result, targets.bins_in(result))
    rate = rate_error = g2_error = None
    if targets.rate_error is not None:
        decays = fit_decays(mine)
        rate, rate_error = decays.gamma, decays.gamma_err / decays.gamma
    if targets.g2_error is not None:
        g2_error = _g2_error(mine, targets.delay)
    return Check(targets=targets, frames=result.frames, rate=rate, rate_error=rate_error, g2_error=g2_error)


def _of_bins(result: MultiTauResult, bins: NDArray[np.int64]) -> MultiTauResult:
    parents = np.zeros_like(result.parents)
    for place, parent in enumerate(bins, start=1):
        parents[result.parents == parent + 1] = place
    return dataclasses.replace(
        result,
        g2=result.g2[:, bins],
        g2_err=result.g2_err[:, bins],
        jackknife=result.jackknife[:, :, bins],
        q=result.q[bins],
        parents=parents,
    )


def _g2_error(result: MultiTauResult, delay: int | None) -> Floats:
    """Relative to the contrast, g2 - 1 at the first delay: at a delay, or the median over all.

    `g2_err` will not do: a pixel's own normalisation takes scatter away where pairs are few.
    """
    unknown = np.full(len(result.q), np.nan)
    if not len(result.delays) or (delay is not None and delay > result.delays[-1]):
        return unknown
    errors = _jackknife_errors(result.jackknife)
    contrast = result.g2[0] - 1
    if delay is not None:
        error = errors[np.searchsorted(result.delays, delay)]
    else:
        known = np.isfinite(errors).any(axis=0)
        error = unknown
        error[known] = np.nanmedian(errors[:, known], axis=0)
    return np.where(contrast > 0, error / np.where(contrast > 0, contrast, np.nan), np.nan)


def _jackknife_errors(without: Floats) -> Floats:
    """Standard errors, shape (nt, nq), from values without each group (axis 0), NaN beyond the last one."""
    errors = np.full(without.shape[1:], np.nan)
    for i, (values, known) in enumerate(zip(without.T, np.isfinite(without).T, strict=True)):
        used = values[:, known.any(axis=0)]  # (nt, groups)
        if (n := used.shape[1]) > 1:
            errors[:, i] = np.sqrt((n - 1) * used.var(axis=1))
    return errors


def _percent(error: float) -> str:
    return f"{100 * error:.2g} %" if math.isfinite(error) else "not known"
