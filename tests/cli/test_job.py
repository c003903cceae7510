"""`apsdm job`: started, listed, shown, cancelled, run again. The logs are in `test_job_logs`."""

import getpass
import json

import pytest

from apsdm_bluesky.agent import jobs_thread
from apsdm_bluesky.archive import AgentLock
from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.workflows import Stage, Workflow
from apsdm_bluesky.workflows.executors import Blame
from apsdm_bluesky.workflows.jobs import State
from tests.commands import told

ME = getpass.getuser()


@pytest.fixture
def job(here, jobs):
    """Runs `apsdm job`."""
    return lambda *words, **options: here("job", *words, home=jobs.home, **options)


# -- start --


def test_a_job_is_started_with_values(job, jobs):
    done = job("start", "staff/checksum", "path=/a b", "count=5", "--run", "29ab", "--version", 1)
    kept = jobs.store.get(done.stdout.strip())
    assert (kept.state, kept.owner, kept.run, kept.version) == (State.PENDING, ME, "29ab", 1)
    assert kept.arguments == {"path": "/a b", "count": 5}
    assert jobs.store.history(kept.id)[0].actor == f"{ME} (command line)"
    assert told(done) == "no agent runs here: jobs wait until 'apsdm up' or 'apsdm agent' runs"
    as_json = json.loads(job("start", "checksum", "path=[1, b]", "--json").stdout)["job"]
    assert as_json["arguments"] == {"path": [1, "b"], "count": 1}


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["path"], 2, "write NAME=VALUE"),
        (["=5"], 2, "write NAME=VALUE"),
        (["path=1", "path=2"], 2, "'path' is given twice"),
        (["path=no"], 2, "is 'no' a text? Put it in quotes"),
        ([], 1, "argument path is missing; give path=VALUE"),
        (["path=1", "other=1"], 1, "argument 'other' is not known"),
        (["path=1", "--version", "7"], 1, "version 7 is not known"),
    ],
)
def test_what_cannot_be_started_is_told(job, jobs, words, code, why):
    done = job("start", "checksum", *words, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert why in told(done)
    assert jobs.store.list() == []


def test_nobody_waits_for_nobody(job, jobs):
    done = job("start", "checksum", "path=1", "--wait", check=False)
    assert done.returncode == 1
    assert "is kept, but no agent runs here" in told(done)
    assert len(jobs.store.list()) == 1


def test_a_job_is_waited_for(job, jobs):
    config = BeamlineConfig(home=jobs.home)
    bad = Workflow(name="bad", owner="staff", stages=(Stage(name="see", command="cat /no/such"),))
    jobs.store.definitions.add(bad, actor="test")
    with AgentLock(config.folders.archive), jobs_thread(config, actor="test"):
        lines = job("start", "checksum", "path=/x", "--wait").stdout.splitlines()
        kept = json.loads(job("start", "checksum", "path=/x", "--wait", "--json").stdout)["job"]
        done = job("start", "bad", "--wait", check=False)
    assert jobs.store.get(lines[0]).state is State.DONE
    ends = [line.partition(" in ")[0] for line in lines if "done in" in line]
    assert ends == ["stage 1/2 sum: done", "stage 2/2 note: done"]
    assert (kept["state"], kept["variables"]) == ("done", {"found": "/x"})
    assert done.returncode == 1
    assert "stage 1/1 see: failed: '/no/such' does not exist" in done.stdout
    assert "failed: '/no/such' does not exist" in told(done)


# -- ls --


def listed(job, *options):
    return [one["id"] for one in json.loads(job("ls", "--json", *options).stdout)["jobs"]]


def test_jobs_are_listed_latest_first_and_filtered(job, jobs):
    assert "no job yet" in job("ls").stdout
    first, second = jobs.done(owner=ME, run="29ab"), jobs.failed()
    assert listed(job) == [second.id, first.id]
    assert listed(job, "--mine") == listed(job, "--owner", ME) == [first.id]
    assert listed(job, "--state", "FAILED", "--state", "running") == [second.id]
    assert listed(job, "--run", "29ab") == [first.id]
    assert listed(job, "--workflow", "others") == []
    assert listed(job, "--limit", 1) == [second.id]
    done = job("ls")
    assert done.stderr == "", "no job waits"
    text = done.stdout
    assert f"{second.id[:8]}  failed  checksum v1  2/2 note  pete" in text
    assert "'/x' does not exist: correct the path" in text
    assert "1 done, 1 failed" in text


def test_bad_filters_are_told(job):
    done = job("ls", "--state", "lost", check=False)
    assert done.returncode == 2
    assert "give one of pending, running" in told(done)
    assert job("ls", "--mine", "--owner", "pete", check=False).returncode == 2


def test_whether_jobs_wait_for_an_agent_is_told(job, jobs):
    jobs.start()
    assert "jobs wait until" in told(job("ls"))
    with AgentLock(BeamlineConfig(home=jobs.home).folders.archive):
        assert job("ls").stderr == ""


# -- show --


def test_a_failed_job_tells_why_whose_fault_and_what_to_do(job, jobs):
    failed = jobs.failed(run="29ab", rule="after-xpcs", path="/x\x1b[2J")
    again = jobs.store.resubmit(failed, jobs.workflow, first="note", owner="ann")
    lines = job("show", failed.id[:6]).stdout.splitlines()
    assert lines[0] == f"job {failed.id}: failed"
    assert lines[1].split(maxsplit=1) == ["why", failed.reason]
    assert lines[2].split(maxsplit=1) == ["fault", "of the command, its arguments or its input"]
    assert lines[3].endswith(f"apsdm job resubmit {failed.id[:8]} --from note")
    text = "\n".join(lines)
    assert f"again as    job {again.id[:8]} (pending)" in text
    assert "29ab, by rule after-xpcs" in text
    assert "found=abc" in text
    assert "$ cat 'a b'" in text
    assert "exit status 1, cpu 1.2 s, 5.0 MB, 3.0 s" in text
    assert lines[-1] == "  | cat: /x:  [31mNo such file"
    assert "\x1b" not in text
    shown = job("show", again.id).stdout
    assert f"job {failed.id} from stage note" in shown
    assert f"taken over from job {failed.id[:8]}" in shown


@pytest.mark.parametrize(
    ("blame", "words"),
    [
        (Blame.SYSTEM, ("of the machine that it ran on", "mend that, then apsdm job resubmit")),
        (Blame.NETWORK, ("of the network, the remote or the login", "mend that, then apsdm job resubmit")),
    ],
)
def test_what_is_not_the_users_fault(job, jobs, blame, words):
    begun = jobs.begin(jobs.start())
    failed = jobs.fail(begun, reason="the endpoint does not answer", blame=blame)
    text = job("show", failed.id).stdout
    for word in words:
        assert word in text


def test_all_of_a_job_is_in_its_json(job, jobs):
    failed = jobs.failed()
    found = json.loads(job("show", failed.id, "--json").stdout)
    assert found["job"]["reason"] == failed.reason
    assert found["folder"] == str(jobs.store.folder(failed.id))
    assert [stage["state"] for stage in found["stages"]] == ["done", "failed"]
    (process,) = found["stages"][1]["processes"]
    assert (process["environment"], process["status"]) == ({"KEY": "value"}, 1)
    assert [line["event"] for line in found["history"]][-1] == "StageFailed"


def test_of_many_processes_those_that_failed_are_shown(job, jobs):
    begun = jobs.begin(jobs.start())
    processes = [
        jobs.process(begun, number=number, status=int(number == 3), ended=True, blame=bad)
        for number, bad in ((number, Blame.COMMAND if number == 3 else None) for number in range(1, 31))
    ]
    failed = jobs.fail(jobs.enter(begun, *processes))
    text = job("show", failed.id).stdout
    assert "exit status 1" in text
    assert text.count("$ cat") == 4
    assert "and 26 more processes; 29 of 30 ended well" in text


# -- cancel, resubmit, pin, compare --


def test_jobs_are_cancelled(job, jobs):
    ended, waits, runs = jobs.done(), jobs.start(), jobs.begin(jobs.start())
    done = job("cancel", waits.id, "zzz", check=False)
    assert "'zzz' is not known" in told(done)
    assert jobs.store.get(waits.id).state is State.PENDING, "a wrong id cancels none"
    done = job("cancel", ended.id, waits.id[:8], runs.id, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [f"job {waits.id}: aborted", f"job {runs.id}: aborting"]
    assert f"job {ended.id} is done already" in done.stderr
    assert f"cancelled by {ME}" in jobs.store.get(waits.id).reason


def test_a_job_is_run_again(job, jobs):
    failed = jobs.failed(run="29ab")
    jobs.store.definitions.add(
        Workflow(
            name="checksum",
            owner="staff",
            arguments=jobs.workflow.arguments,
            stages=(jobs.workflow.stages[0], Stage(name="note", command="echo $count")),
        ),
        actor="test",
    )
    words = ("resubmit", failed.id[:8], "--from", "note", "count=7")
    again = jobs.store.get(job(*words).stdout.strip())
    assert (again.parent, again.stage_name, again.version, again.run) == (failed.id, "note", 1, "29ab")
    assert (again.arguments, again.variables) == ({"path": "/x", "count": 7}, {"found": "abc"})
    found = json.loads(job("resubmit", failed.id, "--latest", "--json").stdout)["job"]
    assert (found["version"], found["first"], found["owner"]) == (2, 0, ME)
    assert "stage 'none' is not in checksum" in told(
        job("resubmit", failed.id, "--from", "none", check=False)
    )
    assert "wait until it has ended" in told(job("resubmit", again.id, check=False))


def test_what_a_rule_could_not_start_is_told_and_run_again(job, jobs):
    """It has no version and no stages, for nobody knew its workflow."""
    unknown, why = Workflow(name="later", owner="", version=0), "rule r: workflow 'later' is not known"
    refused = jobs.store.refuse(unknown, {"path": "/x"}, reason=why, run="29ab", rule="r", actor="agent")
    assert f"{refused.id[:8]}  failed" in job("ls").stdout
    text = job("show", refused.id).stdout
    assert "/later was not known then" in text
    assert text.count("--from") == 0
    assert f"then apsdm job resubmit {refused.id[:8]}\n" in text
    for words in ([], ["--all"], ["run"], ["--follow"]):
        assert f"has no stages: {why}" in told(job("logs", refused.id, *words, check=False))
    assert "'later' is not known" in told(job("resubmit", refused.id, check=False))

    stages = tuple(Stage(name=name, command="echo $path") for name in ("run", "note"))
    jobs.store.definitions.add(Workflow(name="later", owner="staff", stages=stages), actor="test")
    for latest in ([], ["--latest"]):
        again = jobs.store.get(job("resubmit", refused.id, *latest).stdout.strip())
        assert (again.version, again.stage_name, again.run, again.parent) == (1, "run", "29ab", refused.id)
    assert "from stage run" in job("show", again.id).stdout
    done = job("resubmit", refused.id, "--from", "note", check=False)
    assert f"not those of job {refused.id}" in told(done)


def test_a_job_is_pinned(job, jobs):
    kept = jobs.done()
    assert job("pin", kept.id[:8]).stdout == f"job {kept.id}: pinned\n"
    assert jobs.store.get(kept.id).pinned
    assert "done, pinned" in job("show", kept.id).stdout
    assert job("unpin", kept.id).stdout == f"job {kept.id}: no pin any more\n"
    assert not jobs.store.get(kept.id).pinned


def test_two_jobs_are_compared(job, jobs):
    first, second = jobs.done(), jobs.done(path="/y")
    assert job("compare", first.id, first.id).stdout == "no difference\n"
    (jobs.store.folder(second.id) / "sum").mkdir()
    (jobs.store.folder(second.id) / "sum" / "new").write_text("x")
    lines = [line.split() for line in job("compare", first.id, second.id).stdout.splitlines()]
    assert ["argument", "path", "/x", "/y"] in lines
    assert ["file", "sum/new", "(not", "there)", "1", "bytes,"] in [line[:6] for line in lines]
    found = json.loads(job("compare", first.id, second.id, "--json").stdout)["differences"]
    assert found[0] == {"kind": "argument", "name": "path", "first": "/x", "second": "/y"}


@pytest.mark.parametrize("words", [["show"], ["logs"], ["pin"], ["unpin"], ["resubmit"], ["compare", "zzz"]])
def test_a_job_that_is_none(job, words):
    done = job(*words, "zzz", check=False)
    assert done.returncode == 1
    assert "job 'zzz' is not known; see 'apsdm job ls'" in told(done)
