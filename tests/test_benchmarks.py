"""The harness of the measurements. What it measures is never asserted: figures are no tests."""

import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks._bench import Bench, Race, Sample, Target
from benchmarks._measure import measure, ratio
from benchmarks._report import number, save, table
from benchmarks._surroundings import commit, machine

FOLDER = Path(__file__).parents[1] / "benchmarks"
REAL = [
    "archive_bundle",
    "archive_listing",
    "daq",
    "events",
    "hold_up",
    "intensity",
    "job_listing",
    "jobs",
    "memory",
    "multitau",
    "receive",
    "simulator",
    "sparse",
    "store",
    "two_time",
]

GOOD = '''
"""A bench that counts."""
import contextlib
from benchmarks._bench import Bench, Race, Sample, Target

@contextlib.contextmanager
def bench():
    ours, peer = iter([600, 400, 500]), iter([100, 50, 250])
    race = Race(
        name="counting",
        unit="frames/s",
        ours=lambda: Sample(value=next(ours), extra={"lost": 0}),
        peers={"numpy": lambda: Sample(value=next(peer), extra={"lost": 3})},
        targets=[Target(limit=501)],
    )
    yield Bench(races=[race], packages=["numpy"], repeats=3, notes=["counted by hand"])
'''
FAILING = '''
"""A bench that fails."""
import contextlib

@contextlib.contextmanager
def bench():
    raise ValueError("no such\\n detector")
    yield
'''
DYING = '''
"""A bench that takes its process with it."""
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
'''


def samples(*values):
    return [Sample(value=value) for value in values]


def race(ours, peer, **settings):
    """A race whose sides give these values, one a round, and the order in which they were asked."""
    turns = []

    def side(name, values):
        values = iter(values)
        return lambda: (turns.append(name), Sample(value=next(values)))[1]

    sides = {"ours": side("ours", ours), "peers": {"peer": side("peer", peer)}}
    return Race(**{"name": "race", "unit": "frames/s", **sides, **settings}), turns


@pytest.fixture
def harness(tmp_path):
    """The harness with benches of our own; gives what `python -m benchmarks` did."""
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    for path in FOLDER.glob("_*.py"):
        shutil.copy(path, folder)

    def run(benches, *arguments):
        for name, text in benches.items():
            (folder / f"bench_{name}.py").write_text(text)
        command = [sys.executable, "-m", "benchmarks", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    run.results = folder / "results"
    return run


def test_a_ratio_compares_sides_of_the_same_round():
    # The machine was ten times slower in the second round, for both.
    assert ratio(samples(200, 20, 300), samples(100, 10, 100)) == 2
    assert ratio(samples(1, 1), samples(1, 4)) == 0.625
    assert ratio(samples(1, 1), samples(1, 0)) is None


def test_sides_are_run_interleaved_and_none_always_first():
    runner, turns = race([1, 2, 3], [4, 5, 6])
    (result,) = measure(Bench(races=[runner], packages=[]), 3)
    assert turns == ["ours", "peer", "peer", "ours", "ours", "peer"]
    assert [side.name for side in result.sides] == ["apsdm-bluesky", "peer"]
    assert [side.values for side in result.sides] == [[1, 2, 3], [4, 5, 6]]
    assert [side.median for side in result.sides] == [2, 5]
    assert [side.ratio for side in result.sides] == [None, 0.4]


def test_a_slow_peer_takes_part_in_the_first_rounds_only():
    runner, turns = race([10, 20, 30, 40], [5, 5], rounds={"peer": 2})
    (result,) = measure(Bench(races=[runner], packages=[]), 4)
    assert turns == ["ours", "peer", "peer", "ours", "ours", "ours"]
    assert [side.values for side in result.sides] == [[10, 20, 30, 40], [5, 5]]
    assert result.sides[1].ratio == 3  # of these rounds


@pytest.mark.parametrize(
    ("values", "better", "target", "reached"),
    [
        ([1, 5, 6], "higher", Target(limit=5), True),
        ([1, 4.9, 6], "higher", Target(limit=5), False),
        ([5, 1, 6], "higher", Target(limit=5, by="every sample"), False),
        ([5, 6, 7], "higher", Target(limit=5, by="every sample"), True),
        ([9, 5, 4], "lower", Target(limit=5), True),
        ([9, 5.1, 4], "lower", Target(limit=5), False),
        ([9, 5, 4], "lower", Target(limit=5, by="every sample"), False),
        ([5, 4, 3], "lower", Target(limit=5, by="every sample"), True),
        ([5, 4, 3], "higher", Target(limit=1, by="ratio", of="peer"), True),
        ([5, 4, 3], "higher", Target(limit=1.01, by="ratio", of="peer"), False),
        ([5, 4, 3], "higher", Target(limit=1, by="ratio", of="nobody"), False),
        ([5, 4, 3], "lower", None, None),
    ],
)
def test_a_target_is_judged_by_the_median_or_by_every_sample(values, better, target, reached):
    runner, _ = race(values, values, better=better, targets=[] if target is None else [target])
    (result,) = measure(Bench(races=[runner], packages=[]), 3)
    if target is not None:
        assert result.reached(target) is reached
    verdict = {True: "): reached", False: "): NOT REACHED", None: ""}[reached]
    assert verdict in table([result])
    assert ("target" in table([result])) == (target is not None)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1234.5, "1,234"), (99.96, "100"), (5.678, "5.68"), (0.01234, "0.0123")]
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_results_of_one_moment_do_not_overwrite_each_other(tmp_path):
    bench = Bench(races=[], packages=[])
    paths = [save(tmp_path / "results", "quick", bench, [], {}) for _ in range(5)]
    assert len(set(paths)) == 5


def test_a_bench_prints_a_table_and_keeps_every_sample(harness):
    done = harness({"good": GOOD}, "--only", "good")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "== good: A bench that counts." in lines
    assert "counting [frames/s, higher is better]" in lines
    (ours,) = (line for line in lines if line.startswith("  apsdm-bluesky"))
    (peer,) = (line for line in lines if line.startswith("  numpy"))
    assert ours.split()[1:4] == ["500", "400", "600"]
    assert ours.endswith("lost=0  target 501 (median): NOT REACHED")
    assert peer.split()[1:] == ["100", "50", "250", "6", "lost=3"]
    assert "- counted by hand" in lines

    (path,) = harness.results.iterdir()
    assert re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z-good\.json", path.name)
    kept = json.loads(path.read_text())
    assert kept["bench"] == "good"
    assert set(kept["versions"]) == {"apsdm-bluesky", "numpy"}
    assert kept["notes"] == ["counted by hand"]
    (counting,) = kept["races"]
    assert counting["targets"] == [{"limit": 501, "by": "median", "of": "", "reached": False}]
    assert counting["sides"][0]["samples"] == [{"value": value, "lost": 0} for value in (600, 400, 500)]
    assert counting["sides"][1] == {
        "name": "numpy",
        "median": 100,
        "min": 50,
        "max": 250,
        "ours_to_it": 6,
        "samples": [{"value": value, "lost": 3} for value in (100, 50, 250)],
    }


def test_the_number_of_rounds_can_be_chosen(harness):
    assert harness({"good": GOOD}, "--only", "good", "--repeats", "1").returncode == 0
    (path,) = harness.results.iterdir()
    (counting,) = json.loads(path.read_text())["races"]
    assert [len(side["samples"]) for side in counting["sides"]] == [1, 1]


def test_a_bench_that_fails_is_one_line_and_the_others_go_on(harness):
    done = harness({"bad": FAILING, "dying": DYING, "good": GOOD}, "--repeats", "1")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "bench bad failed: ValueError: no such detector",
        "bench dying failed: its process died of signal 9",
    ]
    assert "counting [frames/s, higher is better]" in done.stdout
    assert [path.name.partition("-")[2] for path in harness.results.iterdir()] == ["good.json"]


def test_all_benches_well_is_exit_code_0(harness):
    assert harness({"good": GOOD, "other": GOOD}).returncode == 0
    assert len(list(harness.results.iterdir())) == 2


def test_an_unknown_name_is_one_line_with_the_names(harness):
    done = harness({"good": GOOD, "other": GOOD}, "--only", "nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "no bench 'nonsense'; there are: good, other\n"


@pytest.mark.parametrize("repeats", ["0", "-1", "many"])
def test_a_wrong_number_of_rounds_is_wrong_usage(harness, repeats):
    done = harness({"good": GOOD}, "--repeats", repeats)
    assert done.returncode == 2
    assert "--repeats" in done.stderr.splitlines()[-1]


def test_the_machine_is_told_and_not_whose_it_is():
    told = machine()
    assert told["cores"] >= 1
    assert told["memory_gib"] > 0
    assert told["cpu"]
    private = [str(Path.home()), str(FOLDER.parent), Path("/proc/sys/kernel/hostname").read_text().strip()]
    assert [text for text in private if text in json.dumps(told)] == []


def test_the_commit_is_that_of_the_tree(monkeypatch):
    assert re.fullmatch(r"[0-9a-f]{40}(\+changes)?", commit() or "")
    monkeypatch.setenv("PATH", "")
    assert commit() is None  # without git


def test_the_benches_are_those_that_are_listed():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only", "nonsense"],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == f"no bench 'nonsense'; there are: {', '.join(REAL)}\n"


@pytest.mark.parametrize("name", REAL)
def test_each_bench_can_be_loaded(name):
    module = importlib.import_module(f"benchmarks.bench_{name}")
    assert callable(module.bench)
    assert (module.__doc__ or "").partition("\n")[0].endswith(".")
