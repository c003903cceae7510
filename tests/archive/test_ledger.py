"""The ledger: one record a run, and its whole history, on both databases."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from apsdm_bluesky.archive import Ledger, RunEntry, RunFilter, State, TransitionError
from apsdm_bluesky.archive import _events as events
from apsdm_bluesky.errors import ServiceError, StorageError

BUNDLED = events.Bundled(
    destination="x/a.tar", size=5_000_000_000, sha256="a", md5="b", manifest_size=2, manifest_sha256="c"
)


def enqueue(ledger, uid, actor="x"):
    assert ledger.runs.add(RunEntry(uid=uid, collection="local"), actor=actor)
    assert ledger.plan([uid], actor=actor) == [uid]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    """The URL of an empty database; None: the file in the state folder."""
    if request.param == "sqlite":
        yield None
        return
    with request.getfixturevalue("postgres_server").database() as url:
        yield url


@pytest.fixture
def ledger(tmp_path, database):
    opened = Ledger(tmp_path / "archive", database)
    yield opened
    opened.close()


@pytest.fixture
def other(tmp_path, database):
    """Another process' view of the same state folder."""
    opened = Ledger(tmp_path / "archive", database)
    yield opened
    opened.close()


def at_once(*jobs):
    """Do the jobs at the same time; returns what each gave, or raised."""
    barrier = threading.Barrier(len(jobs))
    outcomes = [None] * len(jobs)

    def do(number, job):
        barrier.wait(30)
        try:
            outcomes[number] = job()
        except (TransitionError, StorageError, ServiceError) as error:
            outcomes[number] = error

    threads = [threading.Thread(target=do, args=entry) for entry in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_duplicate_enqueue_is_the_same_record(ledger):
    enqueue(ledger, "a")
    ledger.apply("a", BUNDLED, actor="x")
    assert not ledger.runs.add(RunEntry(uid="a", collection="other"), actor="y")
    assert ledger.get("a").state is State.BUNDLED
    assert [record.uid for record in ledger.list()] == ["a"]
    assert ledger.get("none") is None


def test_history_tells_what_happened(ledger, other):
    enqueue(ledger, "a", actor="agent")
    ledger.apply("a", BUNDLED, actor="agent")
    ledger.apply("a", events.Blocked(reason="full", needs_person=True), actor="agent")
    other.apply("a", events.Resumed(), actor="a person")
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


def test_runs_are_found_by_the_beginning_of_their_uid(ledger):
    for uid in ("ab1", "ab", "aB2", "ab%", "ac", "b"):
        enqueue(ledger, uid)
    found = {entry.uid for entry in ledger.runs.list(RunFilter(uid="ab"))}
    assert found == {"ab1", "ab", "ab%"}
    assert [entry.uid for entry in ledger.runs.list(RunFilter(uid="ab%"))] == ["ab%"]
    assert [entry.uid for entry in ledger.runs.list(RunFilter(uid="b", limit=1))] == ["b"]


def test_text_that_no_database_takes_is_kept_readable(ledger):
    hostile = "no\0text: \udcff"
    assert ledger.runs.add(RunEntry(uid="a", collection="local", experiment=hostile), actor="x")
    ledger.plan(["a"], actor="x")
    ledger.apply("a", events.Blocked(reason=hostile, needs_person=True), actor="x")
    assert ledger.runs.get("a").experiment == "no\\x00text: \\udcff"
    assert ledger.get("a").reason == "no\\x00text: \\udcff"
    assert ledger.history("a")[-1].evidence["reason"] == hostile


def test_of_two_who_resume_at_once_exactly_one_does(ledger, other):
    enqueue(ledger, "a")
    for _ in range(100):
        ledger.apply("a", events.Blocked(reason="full", needs_person=False), actor="agent")
        outcomes = at_once(
            lambda: ledger.apply("a", events.Resumed(), actor="agent"),
            lambda: other.apply("a", events.Resumed(), actor="a person"),
        )
        kinds = sorted(type(outcome).__name__ for outcome in outcomes)
        assert kinds == ["Record", "TransitionError"], outcomes
    resumed = [entry for entry in ledger.history("a") if entry.event == "Resumed"]
    assert len(resumed) == 100
    assert ledger.get("a").state is State.QUEUED


RESUMER = """
import sys
from pathlib import Path
from apsdm_bluesky.archive import Ledger, TransitionError
from apsdm_bluesky.archive import _events as events
ledger = Ledger(Path(sys.argv[1]), sys.argv[2] or None)
print("ready", flush=True)
for line in sys.stdin:
    try:
        ledger.apply("a", events.Resumed(), actor="a person")
        print(1, flush=True)
    except TransitionError:
        print(0, flush=True)
"""


def test_of_two_processes_that_resume_at_once_exactly_one_does(ledger, tmp_path, database):
    enqueue(ledger, "a")
    command = [sys.executable, "-c", RESUMER, tmp_path / "archive", database or ""]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as person:
        assert person.stdout.readline() == "ready\n"
        won = 0
        for _ in range(100):
            ledger.apply("a", events.Blocked(reason="full", needs_person=False), actor="agent")
            person.stdin.write("go\n")
            person.stdin.flush()
            try:
                ledger.apply("a", events.Resumed(), actor="agent")
                mine = 1
            except TransitionError:
                mine = 0
            theirs = int(person.stdout.readline())
            assert mine + theirs == 1
            won += theirs
        person.stdin.close()
    assert [entry.event for entry in ledger.history("a")].count("Resumed") == 100
    assert [entry.actor for entry in ledger.history("a")].count("a person") == won


def test_parts_of_a_run_that_move_at_once_leave_its_state_true(ledger, other):
    """Each transaction changes a bundle of its own, and derives the run's state from both."""
    ledger.runs.add(RunEntry(uid="a", collection="local"), actor="x")
    one, two = ledger.plan(["a"], parts=2, actor="x")
    for number in range(50):
        blocked = events.Blocked(reason=f"full {number}", needs_person=False)
        for wanted, event in ((State.PARKED, blocked), (State.QUEUED, events.Resumed())):
            outcomes = at_once(
                lambda event=event: ledger.apply(one, event, actor="x"),
                lambda event=event: other.apply(two, event, actor="y"),
            )
            assert [outcome.state for outcome in outcomes] == [wanted, wanted]
            assert ledger.runs.get("a").state is wanted


def test_shared_bundles_that_move_at_once_do_not_block_each_other(ledger, other):
    """Two bundles of the same runs, named in another order."""
    for uid in "abc":
        ledger.runs.add(RunEntry(uid=uid, collection="local"), actor="x")
    bundles = ledger.plan(["c", "a", "b"], parts=2, actor="x")
    for number in range(50):
        event = events.Waiting(reason=f"waits {number}")
        outcomes = at_once(
            lambda event=event: ledger.apply(bundles[0], event, actor="x"),
            lambda event=event: other.apply(bundles[1], event, actor="y"),
        )
        assert [outcome.state for outcome in outcomes] == [State.QUEUED, State.QUEUED]


def test_every_commit_is_synced(tmp_path):
    """A submission id must survive a power cut: WAL with synchronous=FULL (2)."""
    ledger = Ledger(tmp_path)
    with ledger.database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    ledger.close()


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
