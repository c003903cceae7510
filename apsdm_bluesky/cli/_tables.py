"""Results as numbers for JSON, and as tables for a person."""

import math
from typing import Any

import numpy as np
from rich.table import Table


def mask_of(hot: Any, mask: Any) -> dict[str, Any]:
    ys, xs = np.nonzero(hot)
    columns, counts = np.unique(xs, return_counts=True)
    return {
        "pixels_masked": len(xs),
        "pixels_used": int(np.count_nonzero(mask)),
        # A bad column would fill the line: it is told as one.
        "bad_columns": [int(column) for column, count in zip(columns, counts, strict=True) if count >= 8],
        "pixels": [[int(x), int(y)] for x, y in zip(xs, ys, strict=True)][:100],
    }


def numbers(values: Any) -> list[float | None]:
    """NaN and infinity as None."""
    return [float(value) if math.isfinite(value) else None for value in np.atleast_1d(values)]


def masked(mask: dict[str, Any]) -> str:
    """One line of the hot pixels."""
    columns = mask["bad_columns"]
    text = f"{mask['pixels_masked']} hot pixels found"
    return f"{text}, most in column x = {', '.join(map(str, columns))}" if columns else text


def rates(report: dict[str, Any]) -> Table:
    """The fitted rates, beside the true ones where they are known."""
    fit = report["fit"]
    truth = fit.get("gamma_true")
    table = Table(title="Decay rates", title_justify="left")
    for heading in (
        "q [px]",
        "Gamma [1/frame]",
        "error",
        *(("true", "(fit - true) / error") if truth else ()),
    ):
        table.add_column(heading, justify="right")
    for i, q in enumerate(report["g2"]["q"]):
        gamma, error = fit["gamma"][i], fit["gamma_err"][i]
        known = [_text(truth[i]), _text(_pull(gamma, error, truth[i]), "+.1f")] if truth else []
        table.add_row(_text(q, ".1f"), _text(gamma), _text(error), *known)
    return table


def _pull(gamma: float | None, error: float | None, true: float) -> float | None:
    return (gamma - true) / error if gamma is not None and error else None


def _text(value: float | None, form: str = ".5f") -> str:
    return "-" if value is None else format(value, form)
