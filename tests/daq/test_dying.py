"""Killed at every durable step, nothing is lost and nothing is there twice."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.daq.dying import FILES, HANDED

ROOT = Path(__file__).parents[2]


def outcomes_of(what: str, folder: Path) -> list[dict[str, Any]]:
    script = [sys.executable, "-m", "tests.daq.dying", what, str(folder)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=240, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_of_what_copies_each_file_is_stored_once(tmp_path: Path) -> None:
    outcomes = outcomes_of("porter", tmp_path)
    for outcome in outcomes:
        assert outcome["again"] == 0, outcome
        assert outcome["stored"] == {name: len(content) for name, content in FILES.items()}, outcome
        assert outcome["rows"] == [[name, "stored", 1] for name in sorted(FILES)], outcome
        assert outcome["left"] == [], outcome
    # The process itself is killed, or one that copies for it is, and then it ends.
    assert {outcome["code"] for outcome in outcomes} == {-signal.SIGKILL, 1, 0}
    assert sum(outcome["code"] != 0 for outcome in outcomes) > 20, "it was hardly ever killed"


def test_of_what_hands_on_each_file_is_in_one_run_and_has_one_job(tmp_path: Path) -> None:
    outcomes = outcomes_of("handover", tmp_path)
    names = sorted(f"{source}/{name}" for source in ("source", "other") for name in HANDED)
    for outcome in outcomes:
        assert outcome["again"] == 0, outcome
        assert outcome["states"] == ["done", "done"], outcome
        assert outcome["rows"] == [[name, "catalogued", 1] for name in names], outcome
        assert outcome["in_runs"] == names, outcome
        assert outcome["rules"] == ["", *(name for name in names if name.startswith("source/"))], outcome
    killed = [outcome["code"] == -signal.SIGKILL for outcome in outcomes]
    assert sum(killed) > 40, "it was hardly ever killed"
    assert killed == sorted(killed, reverse=True)
