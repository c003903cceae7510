"""A small campaign of random kills, whose large one is `make campaign`; does its inspector see faults?"""

import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.archive.campaign import Plan, campaign
from tests.archive.invariants import Inspector
from tests.archive.samples import SampleBeamline
from tests.archive.workload import Workload

FORK_S = 0.1


def test_killed_at_random_moments_the_archive_holds(tmp_path):
    plan = Plan(kills=40, runs=12, seed=random.SystemRandom().randrange(2**32), startup_s=FORK_S)
    report = campaign(plan, tmp_path, mover="local", forked=True)
    assert report.faults == [], plan
    assert report.kills == 40
    assert report.bundles_in_parts > 1
    assert report.kills - report.idle_kills > 4, "the agent was hardly ever killed at work"


def test_killed_at_random_moments_with_globus_the_archive_holds(tmp_path):
    plan = Plan(kills=12, runs=5, seed=random.SystemRandom().randrange(2**32), startup_s=2 * FORK_S)
    report = campaign(plan, tmp_path, mover="globus", forked=True)
    assert report.faults == [], plan
    assert report.kills == 12


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which three runs were archived, and nobody was killed."""
    folder = tmp_path_factory.mktemp("finished")
    plan = Plan(kills=0, runs=3, seed=1, startup_s=FORK_S)
    report = campaign(plan, folder, mover="local", forked=True)
    assert report.faults == []
    return folder / "home"


@pytest.fixture
def home(finished, tmp_path):
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(finished, tmp_path / "home"))


def faults(home: Path) -> str:
    inspector = Inspector(home / "archive", home / "tape", home / "scratch")
    seen = inspector.look()
    return "\n".join(inspector.faults_at_the_end(seen, seen.runs))


def change_ledger(home: Path, statement: str) -> None:
    connection = sqlite3.connect(home / "archive/ledger.sqlite")
    with connection:
        connection.execute(statement)
    connection.close()


def a_tar(home: Path) -> Path:
    return next(home.joinpath("tape").rglob("*tiny*.tar"))


def flip_a_byte(home: Path) -> None:
    content = bytearray(a_tar(home).read_bytes())
    content[1000] ^= 1
    a_tar(home).write_bytes(content)


def test_nothing_is_wrong_with_what_is_right(home):
    assert faults(home) == ""


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (flip_a_byte, "is not so at the destination"),
        (lambda home: a_tar(home).unlink(), "is not so at the destination"),
        (lambda home: a_tar(home).with_suffix(".manifest.json").unlink(), "manifest.json is not so at"),
        (lambda home: shutil.copy(a_tar(home), a_tar(home).with_name("again.tar")), "no record knows it"),
        (lambda home: (home / "archive/bundles/x.tar.part").touch(), "was left behind"),
        (lambda home: (home / "tape/.apsdm-transfer/x.lock").touch(), "was left behind"),
        (lambda home: (home / "archive/readback/x").mkdir(), "was left behind"),
    ],
)
def test_the_inspector_sees_spoilt_files(home, spoil, told):
    spoil(home)
    assert told in faults(home)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE records SET state = 'COPIED' WHERE uid LIKE '%tiny%'", "but it is Record"),
        ("UPDATE runs SET state = 'COPIED' WHERE uid LIKE '%tiny%'", "is COPIED"),
        ("DELETE FROM transitions WHERE event = 'Arrived'", "an illegal history"),
        ("UPDATE transitions SET to_state = 'VERIFIED' WHERE event = 'Arrived'", "is told to lead from"),
        (
            "INSERT INTO bundled SELECT run, '001-medium', 9 FROM bundled WHERE bundle LIKE '%tiny%'",
            "parts",
        ),
        ("DELETE FROM runs WHERE uid LIKE '%medium%'", "are not those offered"),
    ],
)
def test_the_inspector_sees_a_spoilt_ledger(finished, home, statement, told):
    change_ledger(home, statement)
    inspector = Inspector(home / "archive", home / "tape", home / "scratch")
    untouched = Inspector(finished / "archive", finished / "tape", home / "scratch").look()
    assert told in "\n".join(inspector.faults_at_the_end(inspector.look(), untouched.runs))


def test_a_changed_source_is_seen(tmp_path):
    sample = SampleBeamline(tmp_path)
    work = Workload(sample, random.Random(1), 3)
    work.finish()
    assert (work.changed(), work.changed_content()) == ([], [])
    path = next(
        path for path in sample.folders.raw.rglob("*") if path.is_file() and path.parent.name != "image"
    )
    path.write_bytes(path.read_bytes()[::-1])
    (sample.folders.raw / "new").touch()
    sample.session.close()
    assert sorted(fault.rpartition(": ")[2] for fault in work.changed()) == ["is new", "was changed"]
    assert len(work.changed_content()) == 1
