"""What a hostile user, file name or program may try: it is refused, or survived, and told."""

import pytest

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows import Parallel, Stage
from apsdm_bluesky.workflows.jobs import State
from tests.workflows.jobs.samples import running, shell, workflow
from tests.workflows.samples import HOSTILE


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A beamline whose processes may print 1 MB."""
    with running(tmp_path_factory.mktemp("small"), local={"output_gb": 0.001, "memory_gb": 0.2}) as made:
        yield made


@pytest.mark.parametrize("with_shell", [False, True])
def test_values_reach_a_command_as_they_are(bench, with_shell):
    """All of them at once, as the items of a parallel stage and as the text in a job."""
    stage = Stage(
        name="each",
        command="printf '%s' \"$item\"" if with_shell else "printf %s $item",
        shell=with_shell,
        parallel=Parallel(over="$items", limit=4),
    )
    made = workflow(stage, arguments={"items": None}, name=f"hostile-{with_shell}")
    items = tuple(item for item in HOSTILE if not item.startswith("-"))
    job = bench.run(made, items=items)
    assert (job.state, job.reason) == (State.DONE, "")
    assert [attempt.item for attempt in bench.store.attempts(job.id)] == list(items)
    outputs = [
        (bench.folder(job) / attempt.folder / "stdout").read_bytes()
        for attempt in bench.store.attempts(job.id)
    ]
    assert outputs == [item.encode() for item in items]
    assert not list(bench.folder(job).rglob("owned"))


@pytest.mark.parametrize("folder", ["../../elsewhere", "/etc", "a/../../b", ""])
def test_a_folder_from_a_value_stays_in_the_job(bench, folder):
    stage = Stage(name="one", command="touch owned", working_folder="$where")
    job = bench.run(workflow(stage, arguments={"where": None}, name="escape"), where=folder)
    assert job.state is State.FAILED
    assert "stage 'one': " in job.reason
    assert bench.store.attempts(job.id) == []


@pytest.mark.parametrize("name", ["../one", ".", "..", ".attempts", "a/b", "x" * 300])
def test_a_stage_whose_results_would_lie_elsewhere_is_refused(bench, name):
    with pytest.raises(WorkflowError, match="key 'name'"):
        bench.store.definitions.add(workflow(Stage(name=name, command="true")), actor="me")


def test_ten_thousand_stages_are_refused(bench):
    made = workflow(*[Stage(name=f"s{number}", command="true") for number in range(10_000)])
    with pytest.raises(WorkflowError, match="10000 stages, and 1000 are allowed"):
        bench.store.definitions.add(made, actor="me")


def test_an_expression_that_would_backtrack_for_ever(bench):
    stage = shell("one", "printf 'a%.0s' $$(seq 30000)", outputs=(r"(?P<x>(a+)+b|a)",))
    job = bench.run(workflow(stage, name="backtrack"))
    assert (job.state, job.variables) == (State.DONE, {"x": "a"})


def test_endless_output_is_cut(small):
    job = small.run(workflow(Stage(name="one", command="yes"), name="yes"))
    assert job.state is State.FAILED
    assert "printed more than" in job.reason
    (attempt,) = small.store.attempts(job.id)
    assert (small.folder(job) / attempt.folder / "stdout").stat().st_size < 200_000_000
    assert len(attempt.stdout) <= 4096


def test_endless_memory_is_cut(small):
    script = "x = []\nwhile True: x.append(bytearray(10_000_000))"
    job = small.run(workflow(Stage(name="one", command=f'python3 -c "{script}"'), name="memory"))
    assert job.state is State.FAILED
    assert "memory" in job.reason


def test_a_command_that_removes_the_folder_it_runs_in(bench):
    job = bench.run(workflow(shell("one", 'rm -r "$$PWD"'), name="removing"))
    assert job.state is State.DONE
    assert list((bench.folder(job) / "one").iterdir()) == []


def test_a_file_in_the_way_of_the_results(bench):
    """What a stage puts under the name of a later one is not taken for that one's results."""
    made = workflow(
        shell("one", "echo planted > $job_folder/two"), shell("two", "echo mine > file"), name="planted"
    )
    job = bench.run(made)
    assert job.state is State.FAILED
    assert "two" in job.reason
