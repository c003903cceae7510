"""Sessions, runs, notes, adoption: what is on disk and what is read back."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from event_model import DocumentNames, schema_validators

from apsdm_bluesky.errors import FormatError, LockedError, StorageError
from apsdm_bluesky.spool import Spool, SpoolSession
from tests.spool.runs import counting_run, same, uid_of


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


@pytest.fixture
def session(spool):
    session = spool.open_session()
    yield session
    session.close()


def write(session, documents):
    for name, doc in documents:
        session.write(name, doc)


def test_a_run_reads_back_as_it_was_written(spool, session):
    documents = counting_run(5)
    write(session, documents)
    (run,) = spool.runs()
    assert run.uid == uid_of(documents)
    assert same(documents, [list(item) for item in run.documents()])
    assert same(run.start, documents[0][1])
    assert same(run.stop, documents[-1][1])
    assert not run.delivered


def test_every_document_is_in_the_file_when_write_returns(spool, session):
    for count, (name, doc) in enumerate(counting_run(), start=1):
        session.write(name, doc)
        (run,) = spool.runs()
        assert len(list(run.documents())) == count


def test_interleaved_runs_go_to_their_own_files(session):
    raw, analysis = counting_run(4), counting_run(4, raw_uid="x")
    for pair in zip(raw, analysis, strict=True):
        write(session, pair)
    runs = {run.uid: [list(item) for item in run.documents()] for run in session.runs()}
    assert same(runs[uid_of(raw)], raw)
    assert same(runs[uid_of(analysis)], analysis)


def test_threads_write_at_once(session):
    runs = [counting_run(50, size=2000) for _ in range(4)]
    threads = [threading.Thread(target=write, args=(session, run)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = {run.uid: [list(item) for item in run.documents()] for run in session.runs()}
    assert all(same(written[uid_of(run)], run) for run in runs)


def test_all_document_types_find_their_run(session):
    other = counting_run(0, stop=False)
    write(session, other)
    documents = [
        ("start", {"uid": "run", "time": 1.0}),
        ("descriptor", {"uid": "d", "run_start": "run"}),
        ("resource", {"uid": "r", "run_start": "run"}),
        ("datum", {"datum_id": "r/0", "resource": "r"}),
        ("datum_page", {"datum_id": ["r/1"], "resource": "r"}),
        ("event", {"descriptor": "d", "seq_num": 1}),
        ("event_page", {"descriptor": "d", "seq_num": [2, 3]}),
        ("stream_resource", {"uid": "s", "run_start": "run"}),
        ("stream_datum", {"stream_resource": "s", "descriptor": "d", "seq_nums": {"start": 4, "stop": 6}}),
        ("stop", {"run_start": "run"}),
    ]
    write(session, documents)
    run = next(run for run in session.runs() if run.uid == "run")
    assert [name for name, _ in run.documents()] == [name for name, _ in documents]


@pytest.mark.parametrize(
    ("name", "doc", "message"),
    [
        ("event", {"descriptor": "unknown"}, "'unknown'.*of no open run"),
        ("event", {}, "'descriptor'.*of no open run"),
        ("event", {"descriptor": []}, "of no open run"),
        ("stop", {"run_start": "unknown"}, "of no open run"),
        ("bulk_events", {}, "unknown type 'bulk_events'"),
        ("start", {"uid": "a"}, "no Unix time"),
        ("start", {"uid": "a", "time": float("inf")}, "no Unix time"),
        ("start", {"uid": "a", "time": "now"}, "no Unix time"),
        ("start", {"time": 1.0}, "uid None is refused"),
    ],
)
def test_a_document_that_belongs_nowhere_is_refused(session, name, doc, message):
    with pytest.raises(FormatError, match=message):
        session.write(name, doc)
    assert session.runs() == []


@pytest.mark.parametrize(
    "uid",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "a/b",
        "..",
        ".hidden",
        "-rf",
        "a\0b",
        "a\nb",
        "",
        "é",
        "a" * 101,
        7,
        None,
    ],
)
def test_a_hostile_uid_never_becomes_a_path(spool, session, uid):
    before = sorted(spool.root.parent.rglob("*"))
    with pytest.raises(FormatError, match="uid"):
        session.write("start", {"uid": uid, "time": 1.0})
    assert sorted(spool.root.parent.rglob("*")) == before


def test_a_run_is_written_once(session):
    documents = counting_run()
    write(session, documents)
    with pytest.raises(FormatError, match="spooled already"):
        session.write(*documents[0])
    with pytest.raises(FormatError, match="of no open run"):
        session.write(*documents[2])


def test_a_document_that_cannot_be_stored_leaves_the_run_intact(session):
    documents = counting_run()
    write(session, documents[:2])
    with pytest.raises(FormatError, match="number: a object cannot"):
        session.write("event", {**documents[2][1], "data": {"number": object()}})
    write(session, documents[2:])
    (run,) = session.runs()
    assert len(list(run.documents())) == len(documents)


def test_runs_come_in_the_order_of_their_start_times(spool):
    first, second = spool.open_session(), spool.open_session()
    second.write("start", {"uid": "b", "time": 100.0})
    first.write("start", {"uid": "c", "time": 200.5})
    second.write("start", {"uid": "a", "time": 200.25})
    assert [run.uid for run in spool.runs()] == ["b", "a", "c"]
    first.close()
    second.close()


def test_foreign_files_are_passed_over(spool, session):
    write(session, counting_run())
    (spool.root / "README.txt").write_text("hello")
    (spool.root / "folder").mkdir()
    (session.path / "notes.jsonl").write_text("{")
    (session.path / "20260101T000000000000Z-folder.jsonl").mkdir()
    assert len(spool.runs()) == 1
    assert spool.adopt() == []


def test_a_torn_last_line_is_dropped(session):
    documents = counting_run(3, stop=False)
    write(session, documents)
    (run,) = session.runs()
    with run.path.open("ab") as file:
        file.write(b'["stop",{"run_st')
    assert same(documents, [list(item) for item in run.documents()])
    assert run.stop is None


def test_damage_elsewhere_is_told_with_file_and_line(session):
    write(session, counting_run(3))
    (run,) = session.runs()
    lines = run.path.read_bytes().split(b"\n")
    lines[2] = lines[2][:40]
    run.path.write_bytes(b"\n".join(lines))
    with pytest.raises(StorageError, match=rf"{run.uid}\.jsonl: line 3 is damaged"):
        list(run.documents())
    run.path.write_bytes(b"rubbish\n" + run.path.read_bytes())
    with pytest.raises(StorageError, match="line 1"):
        _ = run.start


def test_a_last_line_longer_than_a_block_is_found(session):
    documents = counting_run(2, stop=False)
    write(session, documents)
    session.write("stop", {"uid": "s", "run_start": uid_of(documents), "reason": "x" * 300_000})
    (run,) = session.runs()
    assert run.stop is not None
    assert len(run.stop["reason"]) == 300_000


def test_notes_stay_with_the_run(spool, session):
    documents = counting_run()
    write(session, documents)
    session.note(uid_of(documents), "archive", {"path": "a/b"})
    session.note(uid_of(documents), "other", {"n": 1})
    session.note(uid_of(documents), "archive", {"path": "c"})
    (run,) = spool.runs()
    assert run.notes == {"archive": {"path": "c"}, "other": {"n": 1}}
    assert same(documents, [list(item) for item in run.documents()])
    with pytest.raises(StorageError, match="holds no run nobody"):
        session.note("nobody", "archive", {})
    with pytest.raises(FormatError, match="note 'archive'"):
        session.note(uid_of(documents), "archive", {"x": np.zeros(2)})


def test_a_closed_session_refuses_documents(spool):
    session = spool.open_session()
    session.close()
    with pytest.raises(StorageError, match="closed"):
        session.write("start", {"uid": "a", "time": 1.0})


def test_the_lock_of_a_live_session_holds(spool, session):
    write(session, counting_run(stop=False))
    with pytest.raises(LockedError, match="in use"):
        SpoolSession(session.path)
    assert spool.adopt() == []


def test_only_sessions_with_work_left_are_adopted(spool):
    done, refused, undelivered, unfinished = (spool.open_session() for _ in range(4))
    for each in (done, refused, undelivered):
        write(each, counting_run())
    write(unfinished, counting_run(stop=False))
    done.runs()[0].mark_delivered()
    refused.runs()[0].mark_refused("a reason")
    spool.open_session().close()
    for each in (done, refused, undelivered, unfinished):
        each.close()
    adopted = spool.adopt()
    assert [each.path for each in adopted] == sorted([undelivered.path, unfinished.path])
    assert spool.adopt() == []
    for each in adopted:
        each.close()
    assert spool.runs()[0].delivered or spool.runs()[0].refused is None


def test_an_unfinished_run_is_closed_as_aborted(spool):
    session = spool.open_session()
    finished, open_run = counting_run(2), counting_run(3, stop=False)
    write(session, finished + open_run)
    session.close()
    run = next(run for run in spool.runs() if run.uid == uid_of(open_run))
    with run.path.open("ab") as file:
        file.write(b'["event",{"descr')
    (adopted,) = spool.adopt()
    assert adopted.close_unfinished("the session ended") == [uid_of(open_run)]
    assert adopted.close_unfinished("again") == []
    adopted.close()
    documents = list(run.documents())
    assert same(open_run, [list(item) for item in documents[:-1]])
    name, stop = documents[-1]
    schema_validators[DocumentNames.stop].validate(stop)
    assert (name, stop["exit_status"], stop["reason"]) == ("stop", "abort", "the session ended")
    assert stop["num_events"] == {"primary": 3}
    assert stop["time"] >= run.start["time"]


def test_events_are_counted_in_every_form(session):
    for name, doc in [
        ("start", {"uid": "run", "time": 1.0}),
        ("descriptor", {"uid": "d1", "run_start": "run", "name": "paged"}),
        ("descriptor", {"uid": "d2", "run_start": "run", "name": "external"}),
        ("descriptor", {"uid": "d3", "run_start": "run", "name": "empty"}),
        ("event_page", {"descriptor": "d1", "seq_num": [1, 2]}),
        ("event_page", {"descriptor": "d1", "seq_num": []}),
        ("event", {"descriptor": "d1", "seq_num": 3}),
        ("stream_datum", {"descriptor": "d2", "seq_nums": {"start": 1, "stop": 5}}),
    ]:
        session.write(name, doc)
    session.close_unfinished("over")
    (run,) = session.runs()
    assert run.stop is not None
    assert run.stop["num_events"] == {"paged": 3, "external": 4, "empty": 0}


def test_a_damaged_run_does_not_keep_others_from_being_closed(session, caplog):
    write(session, counting_run(2, stop=False))
    (damaged,) = session.runs()
    damaged.path.write_bytes(damaged.path.read_bytes() + b"rubbish\n")
    other = counting_run(2, stop=False)
    write(session, other)
    assert session.close_unfinished("over") == [uid_of(other)]
    assert "line 5 is damaged" in caplog.text


CHILD = """
import sys
from pathlib import Path
from apsdm_bluesky.spool import Spool
from tests.spool.runs import counting_run
session = Spool(Path(sys.argv[1])).open_session()
for name, doc in counting_run(10_000, stop=False, size=500):
    session.write(name, doc)
    if name == "event":
        print(doc["data"]["number"], flush=True)
"""


def test_a_killed_process_loses_nothing_it_wrote_and_its_lock(spool):
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(spool.root)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child.stdout:
        for line in child.stdout:
            if int(line) >= 200:
                break
        assert spool.adopt() == []
        os.kill(child.pid, signal.SIGKILL)
        told = [int(line), *(int(text) for text in child.stdout if text.endswith("\n"))][-1]
    child.wait()
    (adopted,) = spool.adopt()
    (uid,) = adopted.close_unfinished("killed")
    (run,) = adopted.runs()
    numbers = [doc["data"]["number"] for name, doc in run.documents() if name == "event"]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > told
    assert run.uid == uid
    assert run.stop is not None
    assert run.stop["num_events"] == {"primary": len(numbers)}
    adopted.close()
