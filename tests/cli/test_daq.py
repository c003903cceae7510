"""`apsdm daq` and `apsdm upload`: started, listed, shown, stopped, followed; and `session.daqs`."""

import getpass
import json
import signal
import threading
import time
from functools import partial

import pytest

from apsdm_bluesky.agent import agent_runs
from apsdm_bluesky.archive import AgentLock
from apsdm_bluesky.daq import Daqs as Facade
from apsdm_bluesky.daq import DaqState, FileState, Kind
from apsdm_bluesky.errors import DaqError, ExperimentError
from apsdm_bluesky.experiments import NewExperiment, chosen_experiment
from apsdm_bluesky.workflows import Stage, Workflow
from apsdm_bluesky.workflows.jobs import JobStore
from tests.cli.daq_samples import Daqs
from tests.commands import started, told
from tests.waiting import wait_for

ME = getpass.getuser()
NOBODY = "no agent runs here: files wait until 'apsdm up' or 'apsdm agent' runs"
HOSTILE = "a\x1b[31m\nb\u202ec"


@pytest.fixture
def daqs(tmp_path):
    found = Daqs.at(tmp_path)
    yield found
    found.close()


@pytest.fixture
def daq(here, daqs):
    """Runs `apsdm daq`."""
    return lambda *words, **options: here("daq", *words, home=daqs.home, **options)


@pytest.fixture
def upload(here, daqs):
    """Runs `apsdm upload`."""
    return lambda *words, **options: here("upload", *words, home=daqs.home, **options)


@pytest.fixture
def agent(daqs):
    """As far as others can tell, an agent runs."""
    with AgentLock(daqs.config.folders.archive):
        yield


@pytest.fixture
def workflow(daqs):
    store = JobStore(daqs.home / "jobs")
    note = Workflow(
        name="note",
        owner="staff",
        arguments={"filePath": None, "count": 1},
        stages=(Stage(name="say", command="echo $filePath $count"),),
    )
    store.definitions.add(note, actor="test")
    store.close()


# -- start --


def test_a_daq_of_the_current_experiment_is_started(daq, daqs):
    done = daq("start", daqs.folder)
    kept = daqs.store.get(done.stdout.strip())
    assert (kept.kind, kept.experiment, kept.owner, kept.state) == (Kind.DAQ, "water", ME, "running")
    assert (kept.source, kept.root) == (daqs.folder, daqs.experiment.root)
    assert daqs.store.notices(kept.id)[0].text == f"started by {ME} (command line)"
    assert told(done) == NOBODY


def test_every_option_is_kept(daq, daqs, workflow):
    words = ["--include", "*.h5", "--include", "*.bin", "--exclude", "tmp*", "--hidden", "--new-only"]
    words += ["--destination", "raw/a b", "--workflow", "note", "--argument", "filePath=$filePath"]
    words += ["--argument", "count=5", "--at-end", "--max-run-time", "1.5h", "--upload-on-exit"]
    words += ["--skip-checksum", "--skip-catalogue", "--skip-archive", "--json"]
    told_ = json.loads(daq("start", daqs.folder, *words).stdout)["daq"]
    options = daqs.store.get(told_["id"]).options
    assert (options.include, options.exclude) == (("*.h5", "*.bin"), ("tmp*",))
    assert (options.hidden, options.existing, options.destination) == (True, False, "raw/a b")
    assert (options.workflow_owner, options.workflow, options.each) == ("staff", "note", False)
    assert options.arguments == {"filePath": "$filePath", "count": 5}
    assert (options.max_run_time_s, options.upload_on_exit, options.skip_transfer) == (5400, True, False)
    assert (options.skip_checksum, options.skip_catalogue, options.skip_archive) == (True, True, True)
    assert told_["stop_at"] == pytest.approx(told_["created"] + 5400)


def test_a_relative_folder_is_where_the_person_is(daq, daqs, monkeypatch):
    (daqs.folder / "inner").mkdir()
    monkeypatch.chdir(daqs.folder)
    assert daqs.store.get(daq("start", "inner").stdout.strip()).source == daqs.folder / "inner"
    monkeypatch.chdir(daqs.folder / "inner")
    assert daqs.store.get(daq("start", "..").stdout.strip()).source == daqs.folder


def test_files_in_place_are_taken_without_a_transfer(upload, daqs):
    done = upload(daqs.experiment.data, "--skip-transfer", "--no-wait")
    assert daqs.store.get(done.stdout.strip()).options.skip_transfer


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["--max-run-time", "5"], 2, "'5' is no time: write 90s, 30min, 12h or 2d"),
        (["--max-run-time", "0h"], 2, "is no time"),
        (["--argument", "count=5"], 2, "says nothing without --workflow"),
        (["--at-end"], 2, "says nothing without --workflow"),
        (["--workflow", "note", "--argument", "count=[1, 2]"], 2, "count: a list is no argument here"),
        (["--workflow", "note", "--argument", "count"], 2, "write NAME=VALUE"),
        (["--workflow", "note", "--argument", "other=1"], 1, "argument 'other' is not known; known are"),
        (["--workflow", "no"], 1, "workflow"),
        (["--destination", "../x"], 1, "give a folder below the experiment's data"),
        (["--experiment", "oil"], 1, "'oil'"),
        (["--skip-transfer"], 1, "files that are not copied must lie below"),
    ],
)
def test_what_cannot_be_started_is_told(daq, daqs, workflow, words, code, why):
    done = daq("start", daqs.folder, *words, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert why in told(done)
    assert daqs.store.list() == []


def test_one_needs_an_experiment_and_a_folder(daq, daqs):
    assert "is not there" in told(daq("start", daqs.folder / "no", check=False))
    daqs.current.clear()
    done = daq("start", daqs.folder, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "'apsdm experiment use NAME'" in told(done)


def test_a_folder_is_watched_once(daq, daqs):
    first = daq("start", daqs.folder).stdout.strip()
    done = daq("start", daqs.folder, check=False)
    assert done.returncode == 1
    assert f"daq {first} takes it for water already" in told(done)


# -- ls --


def listed(daq, *options):
    return [one["id"] for one in json.loads(daq("ls", "--json", *options).stdout)["daqs"]]


def test_those_that_go_on_and_of_the_last_day_are_listed(daq, daqs):
    assert "none of the last day; --all lists older ones" in daq("ls").stdout
    assert daq("ls", "--all").stdout == "no DAQ and no upload yet\n"
    week = time.time() - 7 * 86400
    old = daqs.end(daqs.start(), created=week, ended=week + 1)
    active = daqs.start()
    daqs.end(active, DaqState.RUNNING, created=week + 2, ended=None)
    today = daqs.end(daqs.start(kind=Kind.UPLOAD))
    assert listed(daq) == [today.id, active.id]
    assert listed(daq, "--all") == [today.id, active.id, old.id]
    assert listed(daq, "--all", "--limit", 1) == [today.id]
    daqs.experiments.create(NewExperiment(name="oil"), actor="test")
    assert listed(daq, "--experiment", "oil") == []


def test_a_line_tells_how_many_and_why(daq, daqs):
    one = daqs.start()
    daqs.file(one, "a.h5")
    daqs.file(one, "b.h5", FileState.WAITING)
    daqs.file(one, "c.h5", FileState.FAILED)
    daqs.end(one, DaqState.RUNNING, reason=f"the disk is full {HOSTILE}", ended=None)
    head, row = daq("ls").stdout.splitlines()
    assert " ".join(head.split()) == "id kind state experiment age taken waits problems source reason"
    assert row.split()[:4] == [one.id[:8], "daq", "running", "water"]
    assert "  1      1      1         " in row
    assert "the disk is full" in row
    assert row.isprintable()


# -- show --


def test_all_is_told_of_one(daq, daqs):
    one = daqs.start(include=("*.h5",), destination="raw", max_run_time_s=3600)
    daqs.file(one, "good.h5", size=2_000_000)
    daqs.file(one, "late.h5", FileState.WAITING, reason="is being written")
    daqs.file(one, HOSTILE, FileState.FAILED, reason=f"cannot be read {HOSTILE}")
    lines = daq("show", one.id[:8]).stdout.splitlines()
    text = "\n".join(lines)
    assert lines[0] == f"daq {one.id}: running"
    assert "1 waiting, 1 catalogued, 1 failed; 2.0 MB taken" in text
    assert f"to          {daqs.experiment.data / 'raw'}" in text
    assert "include     *.h5" in text
    assert "waiting   late.h5 (1.0 kB): is being written" in text
    assert "failed    a [31m b c (1.0 kB): cannot be read" in text
    assert "started by test" in text
    assert all(line.isprintable() for line in lines)


def test_a_flood_is_no_flood(daq, daqs):
    one = daqs.start()
    for number in range(25):
        daqs.file(one, f"{number:03}.h5", FileState.SKIPPED, reason="is a link")
    lines = daq("show", one.id).stdout.splitlines()
    assert sum("is a link" in line for line in lines) == 20
    assert "  and 5 more; --limit shows more of them" in lines
    assert sum("is a link" in line for line in daq("show", one.id, "--limit", 30).stdout.splitlines()) == 25


def test_files_are_listed_by_state_and_in_pages(daq, daqs):
    one = daqs.start()
    for name, state in {"a": "catalogued", "b": "failed", "c": "vanished", "d": "stored"}.items():
        daqs.file(one, name, FileState(state), run="29ab7abb" * 4 if state == "catalogued" else None)
    daqs.file(one, "a", version=2, run="f" * 32)

    def names(*words):
        return [file["name"] for file in json.loads(daq("show", one.id, "--json", *words).stdout)["files"]]

    assert names("--files", "all") == ["a", "b", "c", "d"]
    assert names("--files", "problems") == ["b", "c"]
    assert names("--files", "stored, failed") == ["b", "d"]
    assert names("--files", "all", "--after", "b", "--limit", 1) == ["c"]
    lines = daq("show", one.id, "--files", "all", "--limit", 2).stdout.splitlines()
    assert " ".join(lines[0].split()) == "catalogued 1.0 kB a version 2 run ffffffff"
    assert lines[2] == "and more; --limit shows more of them, --after 'b' the next ones"
    assert daq("show", one.id, "--files", "skipped").stdout == "no such file\n"


def test_json_tells_all_of_one(daq, daqs):
    one = daqs.start()
    daqs.file(one, "a", FileState.FAILED, reason="why")
    found = json.loads(daq("show", one.id, "--json").stdout)
    assert found["daq"]["counts"]["failed"] == 1
    assert [file["reason"] for file in found["problems"]] == ["why"]
    assert found["notices"][0]["text"] == "started by test"


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["0" * 8], 1, "there is none of that id; see 'apsdm daq ls'"),
        (["%"], 1, "there is none of that id"),
        (["x", "--files", "lost"], 2, "give some of problems, all, waiting"),
        (["x", "--after", "a"], 2, "says nothing without --files"),
    ],
)
def test_what_cannot_be_shown_is_told(daq, daqs, words, code, why):
    daqs.start()
    done = daq("show", *words, check=False)
    assert done.returncode == code
    assert why in told(done)


# -- stop, cancel --


def test_one_is_stopped_and_cancelled(daq, daqs):
    one = daqs.start()
    done = daq("stop", one.id[:8])
    assert done.stdout == f"daq {one.id}: stopping\n"
    assert told(done) == NOBODY
    assert daq("cancel", one.id[:8]).stdout == f"daq {one.id}: aborted\n"
    assert [notice.text for notice in daqs.store.notices(one.id)][1:] == [
        f"stopped by {ME} (command line)",
        f"cancelled by {ME} (command line)",
    ]
    assert daq("stop", one.id).stdout == f"daq {one.id}: aborted\n"


def test_what_has_ended_is_not_cancelled(daq, daqs):
    one = daqs.end(daqs.start(), DaqState.FAILED, "why")
    assert daq("cancel", one.id).stdout == f"daq {one.id}: had ended already: failed\n"


def test_only_those_of_a_known_experiment_are_listed(daq, daqs):
    assert "'watr'" in told(daq("ls", "--experiment", "watr", check=False))
    assert daq("ls", "--experiment", "water").stdout.startswith("none of the last day")


def test_why_files_wait_is_told_while_one_waits_for_them(daq, daqs, agent):
    one = daqs.start()
    daqs.file(one, "a.h5", FileState.WAITING)
    daqs.file(one, "b.h5", FileState.WAITING, reason="its writer has not closed it")

    with started("daq", "stop", one.id, "--wait", home=daqs.home) as process:
        assert "; b.h5 waits: its writer has not closed it" in process.stderr.readline()
        daqs.end(one)
        assert process.wait(60) == 0


def test_one_is_waited_for(daq, daqs, agent):
    one = daqs.start()
    daqs.file(one, "a")

    def work():
        wait_for(lambda: daqs.store.get(one.id).state is DaqState.STOPPING)
        daqs.end(one)

    thread = threading.Thread(target=work)
    thread.start()
    done = daq("stop", one.id, "--wait")
    thread.join()
    assert done.stdout == f"daq {one.id}: stopping\n"
    assert done.stderr.splitlines()[-1] == f"daq {one.id[:8]} done: 1 catalogued; 1.0 kB taken"


def test_nobody_waits_for_nobody(daq, daqs, upload):
    one = daqs.start()
    for done in (
        daq("stop", one.id, "--wait", check=False),
        daq("show", one.id, "--follow", check=False),
        upload(daqs.folder, check=False),
    ):
        assert done.returncode == 1
        assert "is kept, but no agent runs here" in done.stderr


# -- upload --


def uploading(daqs, upload, *words, end, check=True):
    """Run an upload, whose end is what `end` does to it."""

    def work():
        wait_for(lambda: daqs.store.list(kind=Kind.UPLOAD))
        (one,) = daqs.store.list(kind=Kind.UPLOAD)
        end(one)

    thread = threading.Thread(target=work)
    thread.start()
    done = upload(daqs.folder, *words, check=check)
    thread.join()
    return done


def test_an_upload_is_followed_to_its_end(daqs, upload, agent):
    def end(one):
        daqs.file(one, "a")
        daqs.end(one)

    done = uploading(daqs, upload, end=end)
    (one,) = daqs.store.list(kind=Kind.UPLOAD)
    assert done.stdout == f"{one.id}\n"
    assert done.stderr.splitlines()[-1] == f"upload {one.id[:8]} done: 1 catalogued; 1.0 kB taken"


@pytest.mark.parametrize("state", [FileState.FAILED, FileState.SKIPPED, FileState.VANISHED])
def test_a_file_that_was_not_taken_is_told(daqs, upload, agent, state):
    def end(one):
        daqs.file(one, "a", state, reason="for a reason")
        daqs.end(one)

    done = uploading(daqs, upload, end=end, check=False)
    assert done.returncode == 1
    assert f"{state:9} a (1.0 kB): for a reason" in done.stdout
    assert "1 of its files were not taken; see 'apsdm daq show" in done.stderr


def test_json_is_printed_at_the_end_and_alone(daqs, upload, agent):
    def end(one):
        daqs.file(one, "a", FileState.FAILED)
        daqs.end(one, DaqState.FAILED, "some files were not taken")

    done = uploading(daqs, upload, "--json", end=end, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["daq"]["state"] == "failed"
    assert "failed: some files were not taken" in told(done)


def test_a_single_file_is_uploaded_without_waiting(daqs, upload):
    (daqs.folder / "one.h5").write_bytes(b"x")
    done = upload(daqs.folder / "one.h5", "--no-wait", "--include", "*.h5")
    kept = daqs.store.get(done.stdout.strip())
    assert (kept.kind, kept.source) == (Kind.UPLOAD, daqs.folder / "one.h5")
    assert told(done) == NOBODY


def test_ctrl_c_ends_the_following_only(daqs, agent):
    with started("upload", daqs.folder, home=daqs.home) as process:
        uid = process.stdout.readline().strip()
        assert "running" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert f"the agent goes on with {uid}" in process.stderr.read()
    assert daqs.store.get(uid).state is DaqState.RUNNING


# -- with an agent --


@pytest.fixture
def real_agent(daqs):
    with started("agent", home=daqs.home) as process:
        wait_for(lambda: agent_runs(daqs.config), 60, "an agent")
        yield process


@pytest.mark.usefixtures("real_agent")
def test_files_come_in_by_an_upload_and_a_daq(daq, upload, daqs):
    (daqs.folder / "sub").mkdir()
    (daqs.folder / "sub" / "a b.txt").write_text("one")
    done = upload(daqs.folder, "--destination", "raw")
    data = daqs.experiment.data
    assert (data / "raw/sub/a b.txt").read_text() == "one"
    assert "done: 1 catalogued; 3 B taken" in done.stderr
    (daqs.folder / "link").symlink_to("/etc/passwd")
    refused = upload(daqs.folder, "--destination", "raw", check=False)
    assert refused.returncode == 1
    assert "skipped   link (0 B): a link to /etc/passwd, which is not followed" in refused.stdout
    uid = daq("start", daqs.folder, "--include", "*.txt", "--new-only").stdout.strip()
    wait_for(lambda: daqs.store.notices(uid))
    (daqs.folder / "new.txt").write_text("two")
    wait_for(lambda: daqs.store.get(uid).counts.taken == 1, 60, "the new file")
    stopped = daq("stop", uid, "--wait")
    assert daqs.store.get(uid).state is DaqState.DONE
    assert f"daq {uid[:8]} done" in stopped.stderr
    assert [file.name for file in daqs.store.files(uid, states=[FileState.CATALOGUED])] == ["new.txt"]
    assert (data / "new.txt").read_text() == "two"


# -- session.daqs --


@pytest.fixture
def own(daqs):
    """What `session.daqs` is."""
    return Facade(
        daqs.store,
        owner=ME,
        experiment=partial(chosen_experiment, daqs.config),
        workflow=lambda text: ("staff", text),
    )


def test_a_session_starts_and_stops_them(own, daqs):
    assert repr(own) == "no DAQs and uploads"
    uid = own.start(daqs.folder, include="*.h5", workflow="note", arguments={"filePath": "$filePath"})
    kept = own.get(uid[:8])
    assert (kept.experiment, kept.owner, kept.options.include) == ("water", ME, ("*.h5",))
    assert (kept.options.workflow_owner, kept.options.workflow) == ("staff", "note")
    daqs.file(kept, "a", FileState.FAILED)
    daqs.file(kept, "b")
    assert [file.name for file in own.files(uid, "failed")] == ["a"]
    assert own.stop(uid).state is DaqState.STOPPING
    assert own.cancel(uid).state is DaqState.ABORTED
    with pytest.raises(DaqError, match="aborted; 1 of its files were not taken"):
        own.wait(uid)


def test_a_session_shows_them_as_a_table(own, daqs):
    uid = own.upload(str(daqs.folder), experiment="water")
    daqs.end(own.get(uid), reason=f"<b>{HOSTILE}")
    head, row = repr(own).splitlines()
    assert head.split()[:4] == ["id", "kind", "experiment", "state"]
    assert row.startswith(f"{uid[:8]}  upload  water")
    assert row.isprintable()
    assert "<td>&lt;b&gt;a" in own._repr_html_()
    assert [one.id for one in own.list(kind=Kind.UPLOAD)] == [uid]
    assert own.wait(uid).id == uid


def test_a_daq_may_miss_what_vanished_an_upload_nothing(own, daqs):
    for kind in (Kind.DAQ, Kind.UPLOAD):
        one = daqs.start(kind=kind)
        daqs.file(one, "scan.tmp", FileState.VANISHED)
        daqs.end(one)
    upload, daq = own.list()
    assert own.wait(daq.id).counts.vanished == 1
    with pytest.raises(DaqError, match=r"upload .* done; 1 of its files were not taken"):
        own.wait(upload.id)


def test_a_session_does_not_wait_for_ever(own, daqs):
    with pytest.raises(DaqError, match="is running after 0 s: does the agent run"):
        own.wait(own.start(daqs.folder), timeout_s=0)


def test_an_option_that_is_none_is_told(own, daqs):
    with pytest.raises(TypeError, match="includes"):
        own.start(daqs.folder, includes="*.h5")
    with pytest.raises(ExperimentError, match="'oil'"):
        own.start(daqs.folder, experiment="oil")
