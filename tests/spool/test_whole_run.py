"""A run that is put into the spool as a whole."""

import subprocess
import sys
from pathlib import Path

import pytest

from apsdm_bluesky.errors import FormatError, StorageError
from apsdm_bluesky.spool import Spool
from tests.spool.runs import counting_run, same, uid_of

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


@pytest.fixture
def session(spool):
    session = spool.open_session()
    yield session
    session.close()


def test_it_reads_back_with_its_notes_and_marker(spool, session):
    documents = counting_run(5)
    assert session.put_run(documents, notes={"archive": {"collection": "local"}}, delivered=True)
    (run,) = spool.runs()
    assert same(documents, [list(item) for item in run.documents()])
    assert (run.notes, run.delivered, run.refused) == ({"archive": {"collection": "local"}}, True, None)
    session.note(run.uid, "more", {"a": 1})
    assert set(run.notes) == {"archive", "more"}


def test_a_second_time_nothing_changes(spool, session):
    documents = counting_run(2)
    other = spool.open_session()
    try:
        assert session.put_run(documents)
        before = [(path, path.stat().st_mtime_ns) for path in sorted(spool.root.rglob("*"))]
        assert not session.put_run(documents, notes={"a": {}}, delivered=True)
        assert not other.put_run(documents, delivered=True)
        assert [(path, path.stat().st_mtime_ns) for path in sorted(spool.root.rglob("*"))] == before
    finally:
        other.close()


def test_runs_that_are_none_are_refused(session, tmp_path):
    whole = counting_run(2)
    foreign = counting_run(2)
    for documents in (
        [],
        whole[:-1],
        whole[1:],
        [whole[0], *whole],
        [*whole, whole[-1]],
        [whole[0], foreign[1], whole[-1]],
        [whole[0], foreign[-1]],
        [("start", {"uid": "../x", "time": 1.0}), whole[-1]],
        [*whole[:2], ("event", {"descriptor": whole[1][1]["uid"], "data": object()}), whole[-1]],
    ):
        with pytest.raises(FormatError):
            session.put_run(documents)
    assert [path.name for path in session.path.iterdir()] == ["lock"]
    session.close()
    with pytest.raises(StorageError, match="closed"):
        session.put_run(whole)


DYING = """
import json, sys
from pathlib import Path
from apsdm_bluesky.spool import Spool, _disk, _whole_run
from tests.dying import die_at
session = Spool(Path(sys.argv[1])).open_session()
die_at(int(sys.argv[2]), (_whole_run, ["sync", "encode_line"]), (_disk, ["sync", "append"]),
       (Path, ["rename", "replace", "unlink"]), after=True)
documents = [
    ("start", {"uid": "run", "time": 1.0}), ("descriptor", {"uid": "d", "run_start": "run"}),
    ("stop", {"uid": "s", "run_start": "run"}),
]
session.put_run(documents, notes={"archive": {"collection": "c"}}, delivered=True)
"""


def test_killed_at_every_step_all_or_nothing_is_there(tmp_path):
    seen = set()
    for step in range(1, 100):
        spool = Spool(tmp_path / str(step))
        command = [sys.executable, "-c", DYING, str(spool.root), str(step)]
        code = subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode
        runs = spool.runs()
        seen.add(len(runs))
        for run in runs:
            assert run.stop is not None
            assert (run.delivered, run.notes) == (True, {"archive": {"collection": "c"}})
        session = spool.open_session()
        documents = [("start", {"uid": "run", "time": 1.0}), ("stop", {"uid": "s", "run_start": "run"})]
        assert session.put_run(documents) is not bool(runs)
        assert [run.delivered for run in session.runs()] == ([] if runs else [False])
        session.close()
        if code == 0:
            break
    assert (code, seen) == (0, {0, 1})


def test_what_a_killed_attempt_left_has_no_effect(session):
    documents = counting_run(1)
    name = None
    assert session.put_run(documents, notes={"a": {}}, delivered=True)
    for path in session.path.glob("*.jsonl"):
        name = path
        path.unlink()
    assert session.put_run(documents)
    (run,) = session.runs()
    assert (run.path, run.uid, run.notes, run.delivered) == (name, uid_of(documents), {}, False)
    assert not list(session.path.glob("*.new"))
