"""SIGKILL of the agent in every phase of a stage leaves one record, one effect, and no process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What came of a job whose agent died at its first durable step, its second, and so on to its last."""
    home = tmp_path_factory.mktemp("dying")
    done = subprocess.run(
        [sys.executable, "-m", "tests.workflows.jobs.dying_jobs", home],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return home, [json.loads(line) for line in done.stdout.splitlines()]


def test_the_agent_was_killed_at_many_steps_and_last_not(told):
    _, lines = told
    assert [line["killed"] for line in lines] == [True] * (len(lines) - 1) + [False]
    assert len(lines) > 15


def test_each_stage_has_one_effect(told):
    for line in told[1]:
        assert line["state"] == "done", line
        assert line["well"] == [0, 1], line
        assert line["events"].count("StagePassed") == 2, line
        assert line["results"] == ["one", "two"], line
        assert line["files"] == ["result\n", "result\n"], line


def test_a_process_runs_again_only_where_it_was_lost(told):
    for line in told[1]:
        assert line["runs"] <= 2 + line["events"].count("ProcessLost"), line


def test_no_process_is_left(told):
    home, _ = told
    left = [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/environ")
        if str(home).encode() in _content(path)
    ]
    assert left == []


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile, or is somebody else's
        return b""
