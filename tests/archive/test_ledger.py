"""The ledger: one record a run, and its whole history."""

import subprocess

import pytest

from apsdm_bluesky.archive import Ledger, RunEntry, State, TransitionError
from apsdm_bluesky.archive import _events as events
from apsdm_bluesky.errors import StorageError

BUNDLED = events.Bundled(
    destination="x/a.tar", size=5_000_000_000, sha256="a", md5="b", manifest_size=2, manifest_sha256="c"
)


def enqueue(ledger, uid, actor="x"):
    assert ledger.runs.add(RunEntry(uid=uid, collection="local"), actor=actor)
    assert ledger.plan([uid], actor=actor) == [uid]


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger(tmp_path / "archive")
    yield opened
    opened.close()


def test_duplicate_enqueue_is_the_same_record(ledger):
    enqueue(ledger, "a")
    ledger.apply("a", BUNDLED, actor="x")
    assert not ledger.runs.add(RunEntry(uid="a", collection="other"), actor="y")
    assert ledger.get("a").state is State.BUNDLED
    assert [record.uid for record in ledger.list()] == ["a"]
    assert ledger.get("none") is None


def test_history_tells_what_happened(ledger, tmp_path):
    enqueue(ledger, "a", actor="agent")
    ledger.apply("a", BUNDLED, actor="agent")
    ledger.apply("a", events.Blocked(reason="full", needs_person=True), actor="agent")
    other = Ledger(tmp_path / "archive")  # another process' view
    other.apply("a", events.Resumed(), actor="a person")
    other.close()
    history = ledger.history("a")
    assert [(entry.event, entry.from_state, entry.to_state, entry.actor) for entry in history] == [
        ("Requested", None, State.QUEUED, "agent"),
        ("Planned", None, State.QUEUED, "agent"),
        ("Bundled", State.QUEUED, State.BUNDLED, "agent"),
        ("Blocked", State.BUNDLED, State.PARKED, "agent"),
        ("Resumed", State.PARKED, State.BUNDLED, "a person"),
    ]
    assert history[2].evidence["size"] == 5_000_000_000
    assert [entry.time for entry in history] == sorted(entry.time for entry in history)
    assert ledger.get("a").reason == ""


def test_impossible_event_changes_nothing(ledger):
    enqueue(ledger, "a")
    before = ledger.get("a")
    with pytest.raises(TransitionError):
        ledger.apply("a", events.SendAccepted(task_id="t"), actor="x")
    assert ledger.get("a") == before
    assert len(ledger.history("a")) == 2


def test_list_by_state(ledger):
    for uid in "abc":
        enqueue(ledger, uid)
    ledger.apply("b", BUNDLED, actor="x")
    assert [record.uid for record in ledger.list(State.QUEUED)] == ["a", "c"]
    assert [record.uid for record in ledger.list(State.QUEUED, State.BUNDLED)] == ["a", "b", "c"]


def test_every_commit_is_synced(ledger):
    """A submission id must survive a power cut: WAL with synchronous=FULL (2)."""
    with ledger.database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_no_database_is_told(tmp_path):
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/ledger.sqlite").mkdir()
    with pytest.raises(StorageError, match=r"ledger\.sqlite"):
        Ledger(tmp_path / "archive")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file"):
        Ledger(tmp_path / "file")


def test_damaged_database_is_told(tmp_path):
    (tmp_path / "ledger.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match="not a database"):
        Ledger(tmp_path)


def test_full_disk_is_told_and_harms_nothing(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True)
    if mount.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        ledger = Ledger(folder)
        enqueue(ledger, "a")
        filler = folder / "filler"
        with pytest.raises(OSError, match="space"), filler.open("wb") as file:
            file.write(b"0" * 1_000_000)
        with pytest.raises(StorageError, match="full"):
            ledger.apply("a", events.Waiting(reason="x" * 300_000), actor="x")
        kept = ledger.get("a")
        filler.unlink()
        ledger.apply("a", BUNDLED, actor="x")
        assert kept.state is State.QUEUED
        assert ledger.get("a").state is State.BUNDLED
        ledger.close()
    finally:
        subprocess.run(["umount", folder], check=True)
