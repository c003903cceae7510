"""The pages of jobs, without a browser: who sees what, what is refused, and what is pushed."""

import re
import sqlite3

import pytest

from apsdm_bluesky.texts import plain
from apsdm_bluesky.workflows import Stage, Workflow
from apsdm_bluesky.workflows.executors import Blame
from apsdm_bluesky.workflows.jobs import State
from tests.cli.job_samples import Jobs
from tests.people import browser

from .pages import Forms, at_the_pages

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\r\n\r\nevent: end\u2028\x1b[31m"


@pytest.fixture(scope="module")
def jobs(tiled_server):
    found = Jobs(tiled_server.config.home)
    yield found
    found.store.close()


@pytest.fixture(scope="module")
def ann(tiled_server):
    with at_the_pages(tiled_server, "ann") as http:
        yield http


@pytest.fixture(scope="module")
def chief(tiled_server):
    with at_the_pages(tiled_server, "chief") as http:
        yield http


@pytest.fixture(scope="module")
def failed(jobs):
    return jobs.failed(owner="ann")


def token(http):
    return {"csrf": http.cookies["tiled_csrf"]}


def paths(job, process):
    return [
        f"/jobs/{job.id}",
        f"/jobs/{job.id}/events",
        f"/jobs/{job.id}/compare/{job.id}",
        f"/jobs/{job.id}/logs/{process.id}",
        f"/jobs/{job.id}/logs/{process.id}/events",
        f"/jobs/{job.id}/logs/{process.id}/stderr",
    ]


def events(http, address, until, **options):
    """What is sent as server-sent events, each as name and text, up to one named `until`."""
    found, name, lines = [], "", []
    with http.stream("GET", address, **options) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                lines.append(line.removeprefix("data: "))
            elif not line and name:
                found.append((name, "\n".join(lines)))
                name, lines = "", []
                if found[-1][0] == until:
                    break
    return found


def test_every_page_wants_a_login(tiled_server, jobs, failed):
    process = jobs.store.attempts(failed.id)[-1]
    with browser(tiled_server) as http:
        for path in ["/jobs", *paths(failed, process)]:
            answer = http.get(path)
            assert answer.status_code == 303, path
            assert answer.headers["Location"].startswith("/login?next=")


def test_others_see_neither_a_job_nor_that_there_is_one(tiled_server, jobs, ann, chief, failed):
    process = jobs.store.attempts(failed.id)[-1]
    for path in paths(failed, process):
        assert ann.get(path).status_code == 200, path
        assert chief.get(path).status_code == 200, path
    with at_the_pages(tiled_server, "bob") as bob:
        unknown = bob.get(f"/jobs/{'0' * 32}")
        for path in paths(failed, process):
            answer = bob.get(path)
            assert (answer.status_code, answer.text) == (404, unknown.text), path
        for action in ("cancel", "pin", "resubmit"):
            assert bob.post(f"/jobs/{failed.id}/{action}", params=token(bob)).status_code == 404
        assert failed.id not in bob.get("/jobs", params={"owner": "ann"}).text
    assert failed.id in chief.get("/jobs", params={"owner": "ann"}).text
    assert failed.id not in chief.get("/jobs", params={"owner": "bob"}).text


@pytest.mark.parametrize("action", ["cancel", "pin", "unpin", "resubmit"])
def test_a_form_of_another_site_changes_nothing(jobs, ann, action):
    job = jobs.start(owner="ann")
    for forged in ("", "?csrf=", "?csrf=forged"):
        assert ann.post(f"/jobs/{job.id}/{action}{forged}").status_code == 403
    assert jobs.store.get(job.id) == job
    assert ann.get(f"/jobs/{job.id}/{action}").status_code in (404, 405)


@pytest.mark.parametrize(
    "uid", ["", "%2e%2e", "%2e%2e%2fcatalog", "0" * 31, "*", "%00", "A" * 32, "x" * 5000]
)
def test_an_id_that_is_none_is_no_job(ann, uid):
    assert ann.get(f"/jobs/{uid or '%20'}").status_code in (404, 405)
    assert ann.get(f"/jobs/{uid or '%20'}/events").status_code in (404, 405)


def test_the_beginning_of_an_id_is_not_enough(ann, failed):
    assert ann.get(f"/jobs/{failed.id[:8]}").status_code == 404


@pytest.mark.parametrize("name", ["..%2f..%2f..%2f..%2fapi_key", "work", "stdout%00"])
def test_only_output_is_read(jobs, ann, failed, name):
    process = jobs.store.attempts(failed.id)[-1]
    assert ann.get(f"/jobs/{failed.id}/logs/{process.id}/{name}").status_code in (400, 404)
    assert ann.get(f"/jobs/{failed.id}/logs/{name}").status_code == 404


def test_a_link_in_the_place_of_output_is_not_followed(jobs, ann, tmp_path):
    job = jobs.failed(owner="ann")
    process = jobs.store.attempts(job.id)[-1]
    path = jobs.store.folder(job.id) / process.folder / "stderr"
    path.unlink()
    (tmp_path / "secret").write_text("s3cret")
    path.symlink_to(tmp_path / "secret")
    for address in ("", "/stderr", "/events"):
        answer = ann.get(f"/jobs/{job.id}/logs/{process.id}{address}")
        assert "s3cret" not in answer.text
        assert "it is not shown" in answer.text


def test_a_failed_job_tells_why_first_and_what_to_do(ann, failed):
    text = ann.get(f"/jobs/{failed.id}").text
    assert text.index("does not exist: correct the path") < text.index("<h2>Stages</h2>")
    assert "The fault is of the command, its arguments or its input." in text
    assert '<option value="note" selected>note</option>' in text
    assert "^[[31mNo such file" in text
    assert "\x1b" not in text


def test_hostile_text_is_escaped_wherever_it_stands(jobs, ann):
    name = f"{HOSTILE}/../x"
    stages = (Stage(name=plain(HOSTILE).replace("/", "|"), command="echo $path"),)
    fields = {"name": name, "owner": HOSTILE, "description": HOSTILE, "arguments": {"path": HOSTILE}}
    workflow = jobs.store.definitions.add(Workflow(stages=stages, **fields), actor=HOSTILE)
    given = {"path": HOSTILE}
    job = jobs.begin(jobs.store.submit(workflow, given, owner="ann", run=HOSTILE, actor=HOSTILE))
    said = {"stdout": HOSTILE.encode(), "stderr": HOSTILE.encode()}
    bad = jobs.process(job, **said, status=1, item=HOSTILE, blame=Blame.COMMAND)
    job = jobs.fail(jobs.enter(job, bad), reason=HOSTILE)
    link = re.search(r'href="(/workflows/[^"]*)">', ann.get("/workflows").text.partition("<tbody>")[2])[1]
    places = ["/jobs", f"/jobs/{job.id}", f"/jobs/{job.id}/logs/{bad.id}", "/workflows", link]
    for path in [*places, f"/jobs?workflow={HOSTILE[:30]}", f"/jobs/{job.id}/events"]:
        text = ann.get(path).text
        assert "alert(1)" in text, path
        assert "<script>" not in text, path
        assert "<img" not in text, path
    names = [found for found, _ in events(ann, f"/jobs/{job.id}/events", "end")]
    assert names == ["job", "state", "end"]


def test_a_list_is_filtered_and_turned(tiled_server, jobs, ann, failed):
    running = jobs.begin(jobs.start(owner="ann", run="run-1"))
    text = ann.get("/jobs", params={"state": "running"}).text
    assert running.id in text
    assert failed.id not in text
    assert running.id in ann.get("/jobs", params={"run": "run-1"}).text
    assert failed.id not in ann.get("/jobs", params={"run": "run-1"}).text
    assert "No job fits" in ann.get("/jobs", params={"workflow": "other"}).text
    assert ann.get("/jobs", params={"state": "other"}).status_code == 400
    for _ in range(51):
        jobs.start(owner="many")
    with at_the_pages(tiled_server, "many") as http:
        first = http.get("/jobs").text
        assert first.count('class="id" href="/jobs/') == 50
        assert http.get("/jobs?page=2").text.count('class="id" href="/jobs/') == 1
        assert "page=2" in first


def test_a_change_is_pushed_until_the_job_has_ended(jobs, ann):
    job = jobs.enter(jobs.begin(jobs.start(owner="ann")))
    address = f"/jobs/{job.id}/events"
    with ann.stream("GET", address, params={"revision": job.revision}) as answer:
        lines = answer.iter_lines()
        jobs.fail(job, reason="out of <helium>")
        told = "\n".join(lines)
    assert "out of &lt;helium&gt;" in told
    assert told.count("event: job") == 1
    assert told.rstrip().endswith("event: end\ndata:")
    assert [name for name, _ in events(ann, address, "end")] == ["job", "state", "end"]


def test_output_is_sent_from_where_it_was_read(jobs, ann):
    job = jobs.begin(jobs.start(owner="ann"))
    process = jobs.process(job, stdout="0123456789é".encode())
    job = jobs.enter(job, process)
    address = f"/jobs/{job.id}/logs/{process.id}/events"
    with ann.stream("GET", address, params={"stdout": 4}) as answer:
        lines = answer.iter_lines()
        first = [next(lines) for _ in range(3)]
        jobs.write(job, process.folder, stdout=b"<b>\xff\n", stderr=b"e")
        second = [next(lines) for _ in range(9)]
    assert first == ["event: stdout", "id: 12-0", "data: 456789é"]
    assert "data: &lt;b&gt;\ufffd" in second
    assert "id: 17-1" in second
    again = ann.stream("GET", address, headers={"Last-Event-ID": "16-1"}, params={"stdout": 4})
    with again as answer:
        assert [line for line, _ in zip(answer.iter_lines(), range(3), strict=False)][1] == "id: 17-1"


def test_of_a_large_file_the_end_is_shown_and_all_is_saved(jobs, ann):
    job = jobs.begin(jobs.start(owner="ann"))
    process = jobs.process(job, stdout=b"first\n" + b"x" * 400_000 + b"\nlast\n", ended=True)
    job = jobs.enter(job, process)
    address = f"/jobs/{job.id}/logs/{process.id}"
    shown = ann.get(address).text
    assert "first" not in shown
    assert "last\n" in shown
    assert len(shown) < 270_000
    saved = ann.get(f"{address}/stdout")
    assert len(saved.content) == 400_012
    assert saved.headers["Content-Type"].startswith("text/plain")
    assert saved.headers["X-Content-Type-Options"] == "nosniff"
    assert re.fullmatch(r'attachment; filename="[\w.-]+"', saved.headers["Content-Disposition"])
    assert ann.get(f"{address}/stderr").status_code == 404


def test_a_job_is_pinned_and_cancelled(jobs, ann):
    job = jobs.begin(jobs.start(owner="ann"))
    forms = Forms(ann.get(f"/jobs/{job.id}").text)
    assert ann.post(forms.action("/pin")).headers["Location"] == f"/jobs/{job.id}"
    assert jobs.store.get(job.id).pinned
    assert ann.post(forms.action("/cancel")).status_code == 303
    assert jobs.store.get(job.id).state is State.ABORTING
    forms = Forms(ann.get(f"/jobs/{job.id}").text)
    assert ann.post(forms.action("/unpin")).status_code == 303
    assert not jobs.store.get(job.id).pinned


def test_what_has_ended_is_not_cancelled(ann, failed):
    answer = ann.post(f"/jobs/{failed.id}/cancel", params=token(ann))
    assert answer.status_code == 409
    assert "there is nothing to cancel" in answer.text


def test_it_is_run_again_from_a_stage_with_other_arguments(jobs, ann, failed):
    address = f"/jobs/{failed.id}/resubmit"
    sent = {"first": "note", "argument.path": "/y", "argument.count": "2.5", "others": ""}
    answer = ann.post(address, params=token(ann), data=sent)
    again = jobs.store.get(answer.headers["Location"].removeprefix("/jobs/"))
    assert (again.parent, again.first, again.owner) == (failed.id, 1, "ann")
    assert again.arguments == {"path": "/y", "count": 2.5}
    assert again.id in ann.get(f"/jobs/{failed.id}").text
    assert failed.id in ann.get(f"/jobs/{again.id}").text


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"argument.count": "many <b>"}, "is no number, as 5 or 0.5"),
        ({"argument.count": "no"}, "Put it in quotes"),
        ({"first": "other"}, "is not in checksum"),
        ({"others": "color=red"}, "is not known; known are path, count"),
        ({"others": "color"}, "write NAME=VALUE"),
    ],
)
def test_what_cannot_be_run_again_is_told_and_nothing_is_lost(jobs, ann, failed, sent, told):
    before = jobs.store.counts()
    data = {"first": "note", "argument.path": "/typed", **sent}
    answer = ann.post(f"/jobs/{failed.id}/resubmit", params=token(ann), data=data)
    assert answer.status_code == 422
    assert told in answer.text
    assert 'value="/typed"' in answer.text
    assert jobs.store.counts() == before


def test_a_job_whose_workflow_was_never_known(jobs, ann):
    unknown = Workflow(name="none", owner="", version=0)
    job = jobs.store.refuse(unknown, {}, reason="no such workflow", run="r", rule="rule", actor="ann")
    page = ann.get(f"/jobs/{job.id}")
    assert "no such workflow" in page.text
    assert "/resubmit" not in page.text
    assert ann.post(f"/jobs/{job.id}/resubmit", params=token(ann)).status_code == 409
    assert job.id in ann.get("/jobs").text


def test_a_job_that_runs_is_not_run_again(jobs, ann):
    job = jobs.begin(jobs.start(owner="ann"))
    assert ann.post(f"/jobs/{job.id}/resubmit", params=token(ann)).status_code == 409
    assert jobs.store.get(job.id) == job


def test_a_form_is_of_a_bounded_size(ann, failed):
    address, known = f"/jobs/{failed.id}/resubmit", token(ann)
    assert ann.post(address, params=known, content=b"a=" + b"x" * (2 << 20)).status_code == 413
    assert ann.post(address, params=known, content=b"&".join([b"a=1"] * 3000)).status_code == 400
    assert ann.post(address, params=known, content=b"a=%ff").status_code == 400


def test_a_broken_database_is_told_in_a_page(tiled_server, jobs, ann, failed):
    path = jobs.home / "jobs" / "jobs.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE jobs RENAME TO jobs_away")
    try:
        answer = ann.get("/jobs")
    finally:
        with sqlite3.connect(path) as connection:
            connection.execute("ALTER TABLE jobs_away RENAME TO jobs")
    assert answer.status_code == 503
    assert "no such table" in answer.text
    assert "Traceback" not in answer.text
    assert ann.get("/jobs").status_code == 200
