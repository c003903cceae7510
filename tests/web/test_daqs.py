"""The pages of DAQs and uploads, without a browser: who sees what, what is refused, and what is pushed."""

import threading

import pytest

from apsdm_bluesky.daq import DaqState, FileState, Kind
from apsdm_bluesky.experiments import NewExperiment
from tests.cli.daq_samples import Daqs
from tests.people import browser

from .pages import Forms, at_the_pages
from .test_jobs import events, token

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\r\n\r\nevent: end\u2028\x1b[31m"


@pytest.fixture(scope="module")
def daqs(tiled_server, tmp_path_factory):
    found = Daqs(tiled_server.config, tmp_path_factory.mktemp("detector"))
    yield found
    found.current.clear()
    found.close()


@pytest.fixture(scope="module")
def ann(tiled_server):
    """Takes part in the experiment."""
    with at_the_pages(tiled_server, "ann") as http:
        yield http


@pytest.fixture(scope="module")
def bob(tiled_server):
    with at_the_pages(tiled_server, "bob") as http:
        yield http


@pytest.fixture(scope="module")
def chief(tiled_server):
    with at_the_pages(tiled_server, "chief") as http:
        yield http


@pytest.fixture
def one(daqs):
    """A DAQ of pete's in ann's experiment."""
    found = daqs.start()
    yield found
    daqs.store.cancel(found.id, actor="test")


def paths(one):
    return [f"/daqs/{one.id}", f"/daqs/{one.id}/files", f"/daqs/{one.id}/events"]


def test_every_page_wants_a_login(tiled_server, daqs, one):
    daqs.end(one)
    with browser(tiled_server) as http:
        for path in ["/daqs", *paths(one)]:
            answer = http.get(path)
            assert answer.status_code == 303, path
            assert answer.headers["Location"].startswith("/login?next=")


def test_one_is_seen_by_staff_and_who_takes_part(daqs, one, ann, bob, chief):
    daqs.end(one)
    unknown = bob.get(f"/daqs/{'0' * 32}")
    for path in paths(one):
        assert ann.get(path).status_code == 200, path
        assert chief.get(path).status_code == 200, path
        answer = bob.get(path)
        assert (answer.status_code, answer.text) == (404, unknown.text), path
    for change in ("stop", "cancel"):
        assert bob.post(f"/daqs/{one.id}/{change}", params=token(bob)).status_code == 404
    listed = {http: one.id in http.get("/daqs").text for http in (ann, bob, chief)}
    assert listed == {ann: True, bob: False, chief: True}
    assert one.id not in bob.get("/daqs", params={"experiment": "water"}).text


def test_one_is_seen_by_its_owner(daqs, bob, ann):
    oil = daqs.experiments.create(NewExperiment(name="oil"), actor="test")
    own = daqs.end(daqs.start(owner="bob", experiment=oil))
    assert bob.get(f"/daqs/{own.id}").status_code == 200
    assert own.id in bob.get("/daqs").text
    assert ann.get(f"/daqs/{own.id}").status_code == 404
    assert own.id not in ann.get("/daqs").text


def test_the_list_is_filtered(daqs, one, ann, chief):
    upload = daqs.end(daqs.start(kind=Kind.UPLOAD))
    for http in (ann, chief):
        running = http.get("/daqs", params={"state": "running", "experiment": "water"}).text
        assert one.id in running
        assert upload.id not in running
        assert one.id not in http.get("/daqs", params={"experiment": "oi"}).text
    assert ann.get("/daqs", params={"state": "lost"}).status_code == 400


def test_one_is_stopped_and_cancelled(daqs, one, ann):
    page = ann.get(f"/daqs/{one.id}").text
    assert ann.post(Forms(page).action("/stop")).headers["Location"] == f"/daqs/{one.id}"
    assert daqs.store.get(one.id).state is DaqState.STOPPING
    page = ann.get(f"/daqs/{one.id}").text
    assert "/stop" not in page
    ann.post(Forms(page).action("/cancel"))
    assert daqs.store.get(one.id).state is DaqState.ABORTED
    assert daqs.store.notices(one.id)[-1].text == "cancelled by ann (page)"
    assert "/cancel" not in ann.get(f"/daqs/{one.id}").text


@pytest.mark.parametrize("change", ["stop", "cancel"])
def test_a_form_of_another_site_changes_nothing(daqs, one, ann, change):
    for forged in ("", "?csrf=", "?csrf=forged"):
        assert ann.post(f"/daqs/{one.id}/{change}{forged}").status_code == 403
    assert daqs.store.get(one.id) == one
    assert ann.get(f"/daqs/{one.id}/{change}").status_code in (404, 405)


@pytest.mark.parametrize("uid", ["%20", "%2e%2e", "0" * 31, "%00", "A" * 32, "x" * 5000])
def test_an_id_that_is_none_is_no_daq(ann, uid):
    for rest in ("", "/files", "/events"):
        assert ann.get(f"/daqs/{uid}{rest}").status_code in (404, 405)


def test_a_page_tells_what_makes_trouble_and_runs_nothing(daqs, one, ann):
    daqs.file(one, "good.h5", size=2_000_000)
    daqs.file(one, "late.h5", FileState.WAITING, reason="is being written")
    daqs.file(one, HOSTILE, FileState.FAILED, reason=HOSTILE)
    for number in range(25):
        daqs.file(one, f"link{number}", FileState.SKIPPED, reason="is a link")
    daqs.end(one, DaqState.RUNNING, reason=HOSTILE, ended=None)
    for path in ("/daqs", f"/daqs/{one.id}", f"/daqs/{one.id}/files"):
        page = ann.get(path).text
        assert "<script>alert" not in page
        assert "<img" not in page
    page = ann.get(f"/daqs/{one.id}").text
    assert "1 waiting, 1 catalogued, 1 failed, 25 skipped; 2.0 MB taken" in page
    assert "is being written" in page
    assert "and 6 more" in page
    daqs.end(one, reason=HOSTILE)
    sent = events(ann, f"/daqs/{one.id}/events", "end")
    assert [name for name, _ in sent] == ["daq", "state", "end"]


def test_files_are_listed_in_pages(daqs, one, ann):
    for number in range(203):
        daqs.file(one, f"{number:03}.h5")
    daqs.file(one, "no", FileState.FAILED)
    page = ann.get(f"/daqs/{one.id}/files").text
    assert ("199.h5" in page, "200.h5" in page) == (True, False)
    rest = ann.get(f"/daqs/{one.id}/files", params={"after": "199.h5"}).text
    assert ("199.h5" in rest, "200.h5" in rest, "<code>no</code>" in rest) == (False, True, True)
    assert "after=199.h5" in page
    failed = ann.get(f"/daqs/{one.id}/files", params={"state": "failed"}).text
    assert ("200.h5" in failed, "<code>no</code>" in failed) == (False, True)


def test_what_changes_is_pushed_to_its_end(daqs, one, ann):
    with ann.stream("GET", f"/daqs/{one.id}/events") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: daq"
        thread = threading.Thread(target=lambda: (daqs.file(one, "new.h5"), daqs.end(one)))
        thread.start()
        rest = list(lines)
        thread.join()
    assert any("1 catalogued" in line for line in rest)
    assert "event: end" in rest
    assert any('"state done"' in line for line in rest)
