"""Jobs that really run, by the thread of the agent and its local processes."""

import os
import signal
from pathlib import Path

import pytest

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows import Parallel, Repeat, Retries, Stage
from apsdm_bluesky.workflows.executors import Blame
from apsdm_bluesky.workflows.jobs import State
from tests.waiting import wait_for
from tests.workflows.jobs.samples import running, shell, workflow


def wardens() -> list[int]:
    """Those of this process; it has other children, as the session's server."""
    lists = Path("/proc/self/task").glob("*/children")
    children = [int(pid) for found in lists for pid in found.read_text().split()]
    return [pid for pid in children if b"_warden" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def states(bench, job) -> list[str]:
    return [entry.state.value for entry in bench.store.stages(job)]


def test_outputs_of_a_stage_are_variables_of_the_next(bench):
    first = Stage(name="first", command="echo size=7", outputs=(r"size=(?P<size>\d+)",))
    job = bench.run(workflow(first, Stage(name="second", command="echo twice $size")))
    assert job.state is State.DONE
    assert job.variables == {"size": "7"}
    assert [attempt.stdout for attempt in bench.store.attempts(job.id)] == ["size=7\n", "twice 7\n"]


def test_everything_about_a_process_is_kept(bench):
    job = bench.run(workflow(shell("only", "echo out; echo err >&2; exit 3")))
    (attempt,) = bench.store.attempts(job.id)
    assert (attempt.stdout, attempt.stderr, attempt.status) == ("out\n", "err\n", 3)
    assert attempt.command == ("/bin/sh", "-c", "echo out; echo err >&2; exit 3")
    assert attempt.environment["APSDM_JOB"] == job.id
    assert attempt.cpu_s is not None
    assert attempt.memory > 0
    assert attempt.started <= attempt.ended
    assert attempt.pid > 0
    assert (bench.folder(job) / attempt.folder / "stderr").read_text() == "err\n"


def test_a_stage_that_fails_ends_the_job_with_the_reason(bench):
    job = bench.run(
        workflow(shell("bad", "cat nothing-there"), Stage(name="never", command="true"), name="failing")
    )
    assert job.state is State.FAILED
    assert "nothing-there" in job.reason
    assert job.blame is Blame.COMMAND
    assert states(bench, job) == ["failed", "pending"]


def test_results_of_stages_stand_under_their_names(bench):
    job = bench.run(workflow(shell("one", "echo 1 > a"), shell("two", "cat $job_folder/one/a > b")))
    assert (bench.folder(job) / "two" / "b").read_text() == "1\n"
    assert not (bench.folder(job) / "one" / "b").exists()


def test_what_a_failed_process_left_is_no_result(bench):
    job = bench.run(workflow(shell("one", "echo 1 > a; exit 1"), name="unfinished"))
    assert not (bench.folder(job) / "one").exists()


def test_a_stage_whose_condition_does_not_hold_is_skipped(bench):
    made = workflow(
        Stage(name="big", command="false", run_if="$size > 10"),
        Stage(name="all", command="true"),
        arguments={"size": 3},
        name="conditional",
    )
    job = bench.run(made)
    assert job.state is State.DONE
    assert states(bench, job) == ["skipped", "done"]


def test_a_job_of_which_nothing_was_to_be_done_is_skipped(bench):
    job = bench.run(workflow(Stage(name="one", command="false", run_if="1 > 2"), name="nothing"))
    assert job.state is State.SKIPPED


def test_children_of_a_list(bench):
    each = Stage(
        name="each",
        command="echo =$item=",
        outputs=("=(?P<seen>.*)=",),
        parallel=Parallel(over="$files", limit=2),
    )
    job = bench.run(workflow(each, arguments={"files": None}, name="list"), files=("a", "b c", "$(d)"))
    assert job.variables == {"seen": ("a", "b c", "$(d)")}
    assert [attempt.item for attempt in bench.store.attempts(job.id)] == ["a", "b c", "$(d)"]


def test_children_of_a_glob_over_what_a_stage_made(bench):
    made = workflow(
        shell("make", "touch a.h5 b.h5 c.txt"),
        shell("each", "echo $item > out", parallel=Parallel(over="$job_folder/make/*.h5", limit=3)),
        name="glob",
    )
    job = bench.run(made)
    written = sorted(path.read_text().strip() for path in (bench.folder(job) / "each").glob("*/out"))
    assert [text.rpartition("/")[2] for text in written] == ["a.h5", "b.h5"]


def test_one_bad_child_fails_the_stage_and_is_named(bench):
    each = shell("each", "test $item != b", parallel=Parallel(over="$files", limit=1))
    job = bench.run(workflow(each, arguments={"files": None}, name="one-bad"), files=("a", "b", "c"))
    assert job.state is State.FAILED
    assert job.reason.startswith("b: ")
    third = bench.store.attempts(job.id)[2]
    assert third.started is None, "nothing more is started when one has failed"


def test_a_retry_runs_only_what_failed(bench, tmp_path):
    flag = tmp_path / "flag"
    each = shell(
        "each",
        f"echo $item; test $item = a && exit 0; test -e {flag} || {{ touch {flag}; exit 1; }}",
        parallel=Parallel(over="$files", limit=2),
        retries=Retries(count=1, delay_s=0),
    )
    job = bench.run(workflow(each, arguments={"files": None}, name="retried"), files=("a", "b"))
    assert job.state is State.DONE
    assert [attempt.item for attempt in bench.store.attempts(job.id)] == ["a", "b", "b"]


def test_a_stage_is_repeated_until_its_condition_holds(bench, tmp_path):
    counter = tmp_path / "counter"
    stage = shell(
        "count",
        f"echo x >> {counter}; echo lines=$$(wc -l < {counter})",
        outputs=(r"lines=(?P<lines>\d+)",),
        repeat=Repeat(period_s=0, until="$lines >= 3", maximum=5),
    )
    job = bench.run(workflow(stage, name="repeated"))
    assert (job.state, job.variables["lines"]) == (State.DONE, "3")
    assert len(bench.store.attempts(job.id)) == 3


def test_a_stage_that_is_repeated_too_often_fails(bench):
    stage = Stage(name="wait", command="echo no", repeat=Repeat(period_s=0, until="1 > 2", maximum=2))
    job = bench.run(workflow(stage, name="never"))
    assert job.state is State.FAILED
    assert "did not hold after 2 times" in job.reason


def test_cancelling_ends_the_whole_tree(bench, tmp_path):
    pids = tmp_path / "pids"
    script = (
        f"setsid sh -c 'trap \"\" TERM; echo $$$$ >> {pids}; sleep 1000' & echo $$$$ >> {pids}; sleep 1000"
    )
    job = bench.submit(workflow(shell("long", script), name="long"))
    wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 2, 30, "both processes")
    bench.store.cancel(job.id, actor="you")
    job = bench.ended(job)
    assert (job.state, job.reason) == (State.ABORTED, "cancelled by you")
    assert [pid for pid in map(int, pids.read_text().split()) if Path(f"/proc/{pid}").exists()] == []


def test_a_stage_out_of_time_is_ended_and_tried_again(bench):
    stage = Stage(
        name="slow", command="sleep 1000", timeout_s=0.2, retries=Retries(count=1, delay_s=0, factor=1)
    )
    job = bench.run(workflow(stage, name="slow"))
    assert job.state is State.FAILED
    assert "0.2 s" in job.reason
    assert len(bench.store.attempts(job.id)) == 2


def test_a_job_is_resubmitted_from_the_stage_that_failed(bench):
    made = workflow(
        shell("one", "echo n=1 | tee a", outputs=(r"n=(?P<n>\d)",)),
        shell("two", "test $how = well && cat $job_folder/one/a"),
        arguments={"how": "badly"},
        name="again",
    )
    first = bench.run(made)
    assert first.state is State.FAILED
    kept = bench.store.definitions.get("again")
    second = bench.store.resubmit(first, kept, first="two", arguments={"how": "well"}, owner="you")
    second = bench.ended(second)
    assert (second.state, second.parent, second.variables) == (State.DONE, first.id, {"n": "1"})
    assert [attempt.stdout for attempt in bench.store.attempts(second.id)] == ["n=1\n"]
    assert bench.store.stages(second)[0].inherited == first.id


def test_a_remote_that_is_not_configured(bench):
    made = workflow(Stage(name="far", command="true", where="polaris"), name="remote")
    job = bench.store.submit(
        bench.store.definitions.add(made, actor="me", remotes=["polaris"]), {}, owner="me"
    )
    job = bench.ended(job)
    assert "'polaris' is no remote of this beamline" in job.reason


def test_a_list_that_is_empty_is_told(bench):
    each = Stage(name="each", command="true", parallel=Parallel(over="$files"))
    job = bench.run(workflow(each, arguments={"files": ()}, name="empty"))
    assert "gives nothing to do" in job.reason


def test_a_python_function(bench):
    stage = Stage(name="call", call="textwrap:dedent", outputs=())
    job = bench.run(workflow(stage, arguments={"text": "  x"}, name="call"))
    assert job.state is State.DONE
    job = bench.run(workflow(stage, arguments={"other": "x"}, name="call"))
    assert job.state is State.FAILED
    assert "text" in job.reason


def test_jobs_beyond_the_limit_wait_in_their_order(tmp_path):
    with running(tmp_path, at_once=1) as bench:
        gate = tmp_path / "gate"
        made = workflow(shell("wait", f"until test -e {gate}; do sleep 0.05; done"))
        first, second = bench.submit(made), bench.submit(made)
        wait_for(lambda: bench.store.get(first.id).state is State.RUNNING, 30, "the first job")
        assert bench.store.get(second.id).state is State.PENDING
        gate.touch()
        assert bench.ended(first).ended <= bench.ended(second).started


def test_a_process_that_is_lost_is_run_anew(bench):
    made = workflow(shell("one", "echo $$$$ > $job_folder/pid; sleep 1000"), name="lost", arguments={})
    job = bench.submit(made)
    wait_for(lambda: bench.store.attempts(job.id), 30, "the process")
    wait_for(lambda: (bench.folder(job) / "pid").exists(), 30, "its pid")
    for pid in wardens():
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(bench.store.attempts(job.id)) == 2, 30, "another process")
    bench.store.cancel(job.id, actor="me")
    assert bench.ended(job).state is State.ABORTED
    assert [entry.event for entry in bench.store.history(job.id)].count("ProcessLost") == 1


def test_a_job_that_has_ended_cannot_be_cancelled(bench):
    job = bench.run(workflow(Stage(name="one", command="true"), name="done"))
    with pytest.raises(WorkflowError, match="is done already"):
        bench.store.cancel(job.id, actor="me")
