"""The table that is printed, and the file that is kept."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ._bench import Bench
from ._measure import OURS, RaceResult, SideResult

_HEADER = ("", "median", "min", "max", f"{OURS} / it", "", "")


def table(results: Sequence[RaceResult]) -> str:
    """One block a race: a line a side with median, spread, ratio, what else is known, the verdict."""
    rows = [row for result in results for row in _rows(result)]
    widths = [max(len(row[i]) for row in (_HEADER, *rows)) for i in range(len(_HEADER))]
    lines = [_line(_HEADER, widths)]
    for result in results:
        lines += [f"{result.race.name} [{result.race.unit}, {result.race.better} is better]"]
        lines += [_line(row, widths) for row in _rows(result)]
    return "\n".join(lines)


def _rows(result: RaceResult) -> list[tuple[str, ...]]:
    return [_row(side, _verdict(result) if side.name == OURS else "") for side in result.sides]


def _row(side: SideResult, verdict: str) -> tuple[str, ...]:
    return (
        f"  {side.name}",
        *(number(value) for value in (side.median, min(side.values), max(side.values))),
        "" if side.ratio is None else number(side.ratio),
        " ".join(f"{name}={number(value)}" for name, value in side.extra.items()),
        verdict,
    )


def _verdict(result: RaceResult) -> str:
    return "; ".join(
        f"target {number(target.limit)} ({target.by}{target.of and ' to ' + target.of}): "
        f"{'reached' if result.reached(target) else 'NOT REACHED'}"
        for target in result.race.targets
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.rjust(width) if 1 <= i <= 4 else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def number(value: float) -> str:
    """Three significant digits, never an exponent for what people read as a number."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def save(
    folder: Path, name: str, bench: Bench, results: Sequence[RaceResult], surroundings: dict[str, Any]
) -> Path:
    """Write everything, each sample too, to ``<UTC time>-<name>.json`` in `folder`."""
    now = datetime.now(UTC)
    folder.mkdir(exist_ok=True)
    path = folder / f"{now:%Y%m%dT%H%M%S.%fZ}-{name}.json"
    content = {
        "bench": name,
        "time": now.isoformat(timespec="seconds"),
        **surroundings,
        "notes": list(bench.notes),
        "races": [_as_json(result) for result in results],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def _as_json(result: RaceResult) -> dict[str, Any]:
    race = result.race
    return {
        "name": race.name,
        "unit": race.unit,
        "better": race.better,
        "targets": [{**asdict(target), "reached": result.reached(target)} for target in race.targets],
        "sides": [
            {
                "name": side.name,
                "median": side.median,
                "min": min(side.values),
                "max": max(side.values),
                "ours_to_it": side.ratio,
                "samples": [{"value": sample.value, **sample.extra} for sample in side.samples],
            }
            for side in result.sides
        ],
    }
