"""Runs on their way to a real Tiled server, and what may go wrong there."""

import contextlib
import errno
import itertools
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.spool import Delivery, Spool
from apsdm_bluesky.spool._catalogue import FailedError, RefusedError, _meaning_of_errors
from tests.servers import CuttingProxy, RunningServer
from tests.spool.runs import counting_run, same, uid_of
from tests.waiting import wait_for


@pytest.fixture
def session(tmp_path):
    session = Spool(tmp_path / "spool").open_session()
    yield session
    session.close()


@contextlib.contextmanager
def delivering(session, uri, api_key):
    delivery = Delivery(session, uri, api_key)
    delivery.start()
    try:
        yield delivery
    finally:
        delivery.close(0)


def write(session, documents, delivery=None):
    for name, doc in documents:
        session.write(name, doc)
        if delivery is not None:
            delivery.wake()


def assert_delivered_once(server, documents, container="raw"):
    """Start, stop and every event stand in the catalogue, once, equal to the bit."""
    events = [doc for name, doc in documents if name == "event"]
    with server.client() as root:
        run = root[container][uid_of(documents)]
        assert same(dict(run.metadata["start"]), documents[0][1])
        assert same(dict(run.metadata["stop"]), documents[-1][1])
        stream = run["primary"]
        assert stream["seq_num"].read().tolist() == [doc["seq_num"] for doc in events]
        assert stream["number"].read().tolist() == [doc["data"]["number"] for doc in events]
        assert same(stream["image"].read(), np.array([doc["data"]["image"] for doc in events]))


def test_a_stopped_run_is_delivered_in_bulk(tiled_server, session):
    documents = counting_run(500)
    write(session, documents)
    with delivering(session, tiled_server.uri, tiled_server.api_key) as delivery:
        assert delivery.wait_idle(60)
        assert delivery.pending == 0
    assert session.runs()[0].delivered
    assert_delivered_once(tiled_server, documents)


def test_raw_and_analysis_runs_are_delivered_live_side_by_side(tiled_server, session):
    raw = counting_run(6)
    analysis = counting_run(6, raw_uid=uid_of(raw))
    with delivering(session, tiled_server.uri, tiled_server.api_key) as delivery:
        for pair in list(zip(raw, analysis, strict=True))[:5]:
            write(session, pair, delivery)
        assert delivery.wait_idle(60)
        assert not any(run.delivered for run in session.runs())
        with tiled_server.client() as root:  # seen before the run is over
            assert len(root["raw"][uid_of(raw)]["primary"]["number"].read()) == 3
            assert len(root["processed"][uid_of(analysis)]["primary"]["number"].read()) == 3
        for pair in list(zip(raw, analysis, strict=True))[5:]:
            write(session, pair, delivery)
        assert delivery.wait_idle(60)
    assert_delivered_once(tiled_server, raw)
    assert_delivered_once(tiled_server, analysis, "processed")


def test_a_live_run_that_fell_behind_is_finished_in_bulk(tiled_server, session):
    documents = counting_run(1000, size=1)
    write(session, documents[:3])
    with delivering(session, tiled_server.uri, tiled_server.api_key) as delivery:
        assert delivery.wait_idle(60)
        write(session, documents[3:], delivery)
        assert delivery.wait_idle(60)
    assert_delivered_once(tiled_server, documents)


def test_what_an_earlier_delivery_left_half_done_is_replaced(tiled_server, session):
    documents = counting_run(4)
    write(session, documents[:4])
    with delivering(session, tiled_server.uri, tiled_server.api_key) as delivery:
        assert delivery.wait_idle(60)
    write(session, documents[4:])
    with delivering(session, tiled_server.uri, tiled_server.api_key) as delivery:
        assert delivery.wait_idle(60)
    assert_delivered_once(tiled_server, documents)


def test_a_complete_run_whose_marker_was_lost_is_only_marked(tiled_server, session):
    documents = counting_run(4)
    write(session, documents)
    (run,) = session.runs()
    with delivering(session, tiled_server.uri, tiled_server.api_key) as delivery:
        assert delivery.wait_idle(60)
    with tiled_server.client() as root:
        root["raw"][uid_of(documents)].update_metadata({"touched": True})
    run.path.with_suffix(".delivered").unlink()
    with delivering(session, tiled_server.uri, tiled_server.api_key) as delivery:
        assert delivery.wait_idle(60)
    assert run.delivered
    with tiled_server.client() as root:
        assert root["raw"][uid_of(documents)].metadata["touched"]


@pytest.mark.parametrize(
    "request_line",
    [b"PATCH /api/v1/table/partition/", b"POST /api/v1/metadata/raw/", b"PATCH /api/v1/metadata/raw/"],
    ids=["append", "create", "stop"],
)
def test_an_answer_that_is_lost_doubles_nothing(tiled_server, session, request_line):
    documents = counting_run(5)
    write(session, documents)
    with (
        contextlib.closing(CuttingProxy(tiled_server.uri, request_line)) as proxy,
        delivering(session, proxy.uri, tiled_server.api_key) as delivery,
    ):
        assert delivery.wait_idle(60)
        assert proxy.cuts == 1
    assert_delivered_once(tiled_server, documents)


@pytest.mark.parametrize("bad", ["event that is not described", "schema", "damaged file"])
def test_a_run_that_is_refused_for_good_is_parked_and_blocks_nothing(tiled_server, session, caplog, bad):
    documents = counting_run(3)
    if bad == "event that is not described":
        documents[2][1]["data"]["image"] = np.zeros((2, 2, 2), "<i2")
    elif bad == "schema":
        del documents[1][1]["data_keys"]["number"]["dtype"]
    write(session, documents)
    (run,) = session.runs()
    if bad == "damaged file":
        run.path.write_bytes(run.path.read_bytes().replace(b'["event"', b'["event', 1))
    good = counting_run(3)
    write(session, good)
    with delivering(session, tiled_server.uri, tiled_server.api_key) as delivery:
        assert delivery.wait_idle(60)
        assert delivery.pending == 0
    assert not run.delivered
    assert run.refused
    assert f"Run {run.uid} is refused" in caplog.text
    assert_delivered_once(tiled_server, good)
    with delivering(session, tiled_server.uri, tiled_server.api_key) as delivery:
        assert delivery.wait_idle(10)


def test_a_disk_that_fails_for_a_moment_refuses_no_run(tiled_server, session, monkeypatch, caplog):
    """Each run's file cannot be opened once: the first time, the second, and so on to the last."""
    runs = [counting_run(3) for _ in range(4)]
    for documents in runs:
        write(session, documents)
    opened = dict.fromkeys((run.path for run in session.runs()), 0)
    errors = dict(zip(opened, itertools.cycle([errno.EIO, errno.ESTALE, errno.EMFILE]), strict=False))
    failing = {path: number for number, path in enumerate(opened)}
    real = Path.open

    def unreliable(path, *arguments, **options):
        if path in opened and threading.current_thread().name == "delivery":
            opened[path] += 1
            if opened[path] == failing[path] + 1:
                raise OSError(errors[path], os.strerror(errors[path]))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", unreliable)
    with delivering(session, tiled_server.uri, tiled_server.api_key) as delivery:
        assert delivery.wait_idle(60)
    assert all(count > failing[path] for path, count in opened.items())  # each failed
    assert caplog.text.count("is delivered again") == len(runs)
    assert not any(run.refused for run in session.runs())
    for documents in runs:
        assert_delivered_once(tiled_server, documents)


def test_a_run_that_cannot_be_read_now_is_pending(session, monkeypatch):
    write(session, counting_run(3))
    (run,) = session.runs()
    delivery = Delivery(session, "http://127.0.0.1:9", "key")

    def failing(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "exists", failing)
    with pytest.raises(StorageError, match="Input/output error"):
        assert run.delivered
    assert delivery.pending == 1


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (OSError(errno.EIO, "Input/output error"), FailedError),
        (FileNotFoundError(errno.ENOENT, "No such file"), FailedError),
        (OSError("Unable to open file (truncated file)"), RefusedError),
        (ValueError("no such column"), RefusedError),
    ],
)
def test_what_passes_is_tried_again_and_what_stays_is_refused(error, meaning):
    with pytest.raises(meaning), _meaning_of_errors(RefusedError):
        raise error


def test_a_wrong_key_is_told_and_loses_nothing(tiled_server, session, caplog):
    documents = counting_run(3)
    write(session, documents)
    with delivering(session, tiled_server.uri, "wrong") as delivery:
        wait_for(lambda: caplog.text.count("401") >= 2, 30, "a second attempt")
        assert not delivery.wait_idle(0)
        assert delivery.pending == 1
    assert "refuses the API key" in caplog.text
    assert session.runs()[0].refused is None
    with delivering(session, tiled_server.uri, tiled_server.api_key) as delivery:
        assert delivery.wait_idle(60)
    assert_delivered_once(tiled_server, documents)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "http://[bad", "nonsense"])
def test_an_address_where_no_server_is_refuses_no_run(session, caplog, uri):
    write(session, counting_run(3))
    with delivering(session, uri, "key") as delivery:
        wait_for(lambda: "Nothing is delivered" in caplog.text, 30, "the message")
        assert delivery.close(0) is False
    (run,) = session.runs()
    assert run.refused is None
    assert not run.delivered


SESSION = """
import sys
from pathlib import Path
from apsdm_bluesky.spool import Delivery, Spool
from tests.spool.runs import counting_run
session = Spool(Path(sys.argv[1])).open_session()
delivery = Delivery(session, sys.argv[2], sys.stdin.readline().strip())
delivery.start()
for name, doc in counting_run(8, stop=False):
    session.write(name, doc)
    delivery.wake()
delivery.wait_idle(60)
print("delivered", flush=True)
for name, doc in counting_run(8, stop=False):
    session.write(name, doc)
print("spooled", flush=True)
sys.stdin.read()
"""


def test_a_session_killed_in_mid_run_is_finished_by_who_adopts_it(tiled_server, tmp_path):
    command = [sys.executable, "-c", SESSION, str(tmp_path), tiled_server.uri]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    with child.stdin, child.stdout:
        child.stdin.write(tiled_server.api_key + "\n")
        child.stdin.flush()
        assert child.stdout.readline() == "delivered\n"
        assert child.stdout.readline() == "spooled\n"
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    (adopted,) = Spool(tmp_path).adopt()
    assert len(adopted.close_unfinished("the session was killed")) == 2
    with delivering(adopted, tiled_server.uri, tiled_server.api_key) as delivery:
        assert delivery.wait_idle(60)
    for run in adopted.runs():
        assert run.delivered
        documents = list(run.documents())
        assert documents[-1][1]["exit_status"] == "abort"
        assert documents[-1][1]["num_events"] == {"primary": 8}
        assert_delivered_once(tiled_server, documents)
    adopted.close()


def test_a_server_killed_in_mid_run_gets_everything_once(tmp_path, session):
    server = RunningServer(tmp_path / "home")
    with contextlib.closing(server):
        documents, later = counting_run(12), counting_run(5)
        with delivering(session, server.uri, server.api_key) as delivery:
            write(session, documents[:6], delivery)
            assert delivery.wait_idle(60)
            server.kill()
            write(session, documents[6:] + later, delivery)  # the run completes while the server is dead
            assert not delivery.wait_idle(2)
            server.restart()
            assert delivery.wait_idle(60)
        assert_delivered_once(server, documents)
        assert_delivered_once(server, later)
        with server.client() as root:
            assert len(root["raw"]) == 2
