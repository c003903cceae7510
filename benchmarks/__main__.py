"""`python -m benchmarks`: run one bench, or each in a process of its own."""

import argparse
import importlib
import logging
import subprocess
import sys
from pathlib import Path

from ._measure import measure
from ._report import save, table
from ._surroundings import surroundings, versions

_FOLDER = Path(__file__).parent


def main() -> int:
    """Exit code 0 also where a target is not reached (a busy machine is no fault); 1 where a bench fails."""
    names = sorted(path.stem.removeprefix("bench_") for path in _FOLDER.glob("bench_*.py"))
    options = _options()
    if options.only is None:
        return max([_run_apart(name, options.repeats) for name in names], default=0)
    if options.only not in names:
        print(f"no bench {options.only!r}; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    try:
        _run(options.only, options.repeats)
    except Exception as error:  # noqa: BLE001 - whatever a bench fails with, the others go on
        reason = " ".join(str(error).split())
        print(f"bench {options.only} failed: {type(error).__name__}: {reason}", file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, beside peers.")
    parser.add_argument("--only", metavar="NAME", help="this bench only")
    parser.add_argument("--repeats", metavar="N", type=_positive, help="rounds (default: each bench's own)")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _run_apart(name: str, repeats: int | None) -> int:
    """In a process of its own: what one bench loads, holds or breaks is none of the next one's business."""
    command = [sys.executable, "-m", "benchmarks", "--only", name]
    if repeats is not None:
        command += ["--repeats", str(repeats)]
    code = subprocess.run(command, cwd=_FOLDER.parent, check=False).returncode
    if code < 0:
        print(f"bench {name} failed: its process died of signal {-code}", file=sys.stderr)
    return int(code != 0)


def _run(name: str, repeats: int | None) -> None:
    logging.disable()  # what services say while they are being killed
    module = importlib.import_module(f"benchmarks.bench_{name}")
    title = (module.__doc__ or "").partition("\n")[0]
    print(f"\n== {name}: {title}", flush=True)
    around = surroundings()  # before we load the machine ourselves
    with module.bench() as bench:
        results = measure(
            bench, repeats or bench.repeats, _show_progress if sys.stderr.isatty() else lambda *_: None
        )
    around["versions"] = versions(bench.packages)
    path = save(_FOLDER / "results", name, bench, results, around)
    print(table(results))
    for note in bench.notes:
        print(f"- {note}")
    print(f"({path.relative_to(_FOLDER.parent)})", flush=True)


def _show_progress(number: int, race: str, side: str) -> None:
    print(f"\r\033[Kround {number}: {race}, {side}", end="\r", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
