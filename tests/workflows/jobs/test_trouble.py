"""What may be wrong with one job, its records or its folder: it is told, and the others go on."""

import os
import shutil
import threading

import pytest
import sqlalchemy as sa

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows import Parallel, Stage
from apsdm_bluesky.workflows.jobs import Attempt, JobStore, Retention, State
from apsdm_bluesky.workflows.jobs import _events as events
from apsdm_bluesky.workflows.jobs._rows import values_of
from apsdm_bluesky.workflows.jobs._tables import attempts, definitions, jobs
from tests.waiting import wait_for
from tests.workflows.jobs.samples import Bench, running, shell, workflow
from tests.workflows.jobs.test_store import ended, submitted

GOOD = workflow(Stage(name="one", command="true"), name="good")


def change(store: JobStore, statement: sa.sql.expression.Executable) -> None:
    """What another version of the package, or a person, does to the tables."""
    with store._database.begin() as connection:
        connection.execute(statement)


# -- records --


def test_a_record_that_cannot_be_read_holds_up_no_other(tmp_path, caplog):
    bench = Bench(tmp_path, at_once=2)
    bad, old = bench.submit(GOOD), ended(bench.store, bench.submit(GOOD), at=1.0)
    for job in (bad, old):
        change(bench.store, sa.update(jobs).where(jobs.c.id == job.id).values(blame="weather"))
    bench.store.close()
    with running(tmp_path, at_once=2) as again:
        assert again.run(GOOD).state is State.DONE
        wait_for(
            lambda: old.id not in {row[0] for row in all_ids(again.store)}, 30, "the removal of the old one"
        )
    assert caplog.text.count(f"job {bad.id} cannot be brought on") == 1


def all_ids(store: JobStore):
    with store._database.read() as connection:
        return list(connection.execute(sa.select(jobs.c.id)).scalars())


@pytest.mark.parametrize("change_it", [sa.delete(definitions), sa.update(definitions).values(text="name: [")])
def test_a_job_whose_definition_is_gone_fails_with_that(tmp_path, change_it):
    bench = Bench(tmp_path)
    job = bench.submit(workflow(Stage(name="one", command="true"), name="lost"))
    change(bench.store, change_it.where(definitions.c.name == "lost"))
    bench.store.close()
    with running(tmp_path) as again:
        job = again.ended(job)
        assert job.state is State.FAILED
        assert "workflow staff/lost version 1" in job.reason
        assert again.run(GOOD).state is State.DONE


def test_a_definition_that_cannot_be_read_can_be_mended(store):
    first = store.definitions.add(GOOD, actor="me")
    change(store, sa.update(definitions).values(text="of: another version of this package"))
    again = JobStore(store._root, None if store._database.name.endswith("sqlite") else store_url(store))
    try:
        assert again.definitions.list() == []
        assert again.definitions.add(GOOD, actor="me").version == first.version + 1
        assert [each.name for each in again.definitions.list()] == ["good"]
    finally:
        again.close()


def store_url(store: JobStore) -> str:
    return store._database.engine.url.render_as_string(hide_password=False)


def test_definitions_that_are_added_at_once_count_one_after_the_other(store):
    texts = [workflow(Stage(name="one", command=f"echo {number}"), name="many") for number in range(6)]
    faults: list[Exception] = []

    def add(made):
        try:
            store.definitions.add(made, actor="me")
        except Exception as error:  # noqa: BLE001 - whatever it is, the test tells
            faults.append(error)

    threads = [threading.Thread(target=add, args=(made,)) for made in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert [number for number, _, _ in store.definitions.versions("many")] == [1, 2, 3, 4, 5, 6]


def test_a_remote_that_is_configured_no_more(tmp_path):
    """What runs there is not told to have stopped: nobody can know."""
    bench = Bench(tmp_path)
    made = workflow(Stage(name="far", command="true", where="polaris"), name="far")
    job = bench.store.submit(
        bench.store.definitions.add(made, actor="me", remotes=["polaris"]), {}, owner="me"
    )
    attempt = attempt_of(bench, job, where="polaris")
    entered = events.StageEntered(at=1.0, processes=1)
    bench.store.save(job, [events.Began(at=1.0), entered], new=[attempt], actor="agent")
    bench.store.close()
    with running(tmp_path) as again:
        wait_for(
            lambda: "is not in beamline.yml any more" in again.store.get(job.id).reason, 30, "the reason"
        )
        again.store.cancel(job.id, actor="me")
        assert again.run(GOOD).state is State.DONE
        assert again.store.get(job.id).state is State.ABORTING


def attempt_of(bench: Bench, job, **fields):
    base = {"id": "a" * 32, "job": job.id, "stage": 0, "round": 0, "number": 1, "command": ("true",)}
    return Attempt(**base | {"folder": ".attempts/1-1", "asked": 1.0} | fields)


# -- retention and resubmission --


def test_a_job_that_cannot_be_removed_holds_up_no_other(store, caplog):
    bad, good = (ended(store, submitted(store), at=1.0) for _ in range(2))
    store.folder(bad.id).write_text("a file where a folder should be")
    retention = Retention(store, keep_s=1.0, keep=10)
    assert [retention.remove_old(now=1000.0), retention.remove_old(now=1000.0)] == [1, 0]
    assert [job.id for job in store.list()] == [bad.id]
    assert caplog.text.count(f"job {bad.id} cannot be removed") == 1
    assert good.id not in caplog.text


def test_nothing_is_taken_over_from_a_job_that_is_going(store):
    made = workflow(shell("one", "a=1"), shell("two", "a=1"), arguments={"x": 1})
    job = submitted(store, made)
    one = [events.Began(at=1.0), events.StageEntered(at=1.0, processes=1), events.StagePassed(at=1.0)]
    job = store.save(
        job, [*one, events.StageEntered(at=1.0, processes=1), events.StagePassed(at=1.0)], actor="a"
    )
    child = store.resubmit(job, made, first="two", owner="me")
    assert not store.begin_removal(job.id), "a job that has not ended takes its results"
    store.cancel(child.id, actor="me")
    assert store.begin_removal(job.id)
    with pytest.raises(WorkflowError, match="is being removed for its age: start anew"):
        store.resubmit(job, made, first="two", owner="me")


def test_results_of_another_station_are_not_taken_over(tmp_path, postgres_url):
    here, there = JobStore(tmp_path / "here", postgres_url), JobStore(tmp_path / "there", postgres_url)
    try:
        made = workflow(shell("one", "a=1"), shell("two", "a=1"), arguments={"x": 1})
        job = submitted(there, made)
        one = [events.Began(at=1.0), events.StageEntered(at=1.0, processes=1), events.StagePassed(at=1.0)]
        job = there.save(job, [*one, events.StageSkipped(at=1.0, reason="")], actor="a")
        with pytest.raises(WorkflowError, match="ran on another station: start anew, or resubmit it there"):
            here.resubmit(job, made, first="two", owner="me")
        assert here.resubmit(job, made, owner="me").first == 0
    finally:
        here.close()
        there.close()


def test_results_that_are_gone_are_told(bench):
    made = workflow(shell("one", "echo 1 > a"), shell("two", "test -e $wanted"), arguments={"wanted": "/"})
    job = bench.run(made)
    shutil.rmtree(bench.folder(job))
    child = bench.store.resubmit(job, bench.store.definitions.get("sample"), first="two", owner="me")
    child = bench.ended(child)
    assert child.state is State.FAILED
    assert f"the results of job {job.id} are not at" in child.reason


def test_a_pipe_in_the_results_is_not_waited_for(bench):
    made = workflow(
        shell("one", "mkfifo pipe; echo 1 > a"), shell("two", "cat $job_folder/one/a"), name="pipe"
    )
    job = bench.run(made)
    child = bench.ended(
        bench.store.resubmit(job, bench.store.definitions.get("pipe"), first="two", owner="me")
    )
    assert (child.state, child.reason) == (State.DONE, "")


# -- processes --


def test_a_pipe_in_the_place_of_the_output_is_not_waited_for(bench):
    job = bench.run(workflow(shell("one", "rm ../stdout; mkfifo ../stdout"), name="fifo"))
    assert job.state is State.DONE
    assert bench.store.attempts(job.id)[0].stdout == ""


def test_a_function_takes_more_variables_than_an_environment_holds(bench):
    stage = Stage(name="one", call="textwrap:dedent")
    made = workflow(stage, arguments={"text": None, "more": None}, name="many-variables")
    job = bench.run(made, text="x", more=tuple(f"/data/file-{number:06}.h5" for number in range(20_000)))
    assert (job.state, job.reason) == (State.DONE, "")


def test_a_file_in_the_working_folder_is_not_taken_for_a_module(bench, tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit('taken')")
    (tmp_path / "textwrap.py").write_text("raise SystemExit('taken')")
    stage = Stage(name="one", call="textwrap:dedent", working_folder=str(tmp_path))
    job = bench.run(workflow(stage, arguments={"text": "x"}, name="shadow"))
    assert (job.state, job.reason) == (State.DONE, "")


def test_a_parallel_function_knows_its_item(bench):
    stage = Stage(name="each", call="os:mkdir", parallel=Parallel(over="$items", variable="path"))
    job = bench.run(workflow(stage, arguments={"items": None}, name="functions"), items=("a", "b"))
    made = sorted(str(path.relative_to(bench.folder(job))) for path in bench.folder(job).glob("each/*/*"))
    assert (made, job.reason) == (["each/0/a", "each/1/b"], "")


def test_names_of_files_that_are_no_utf8_come_back(bench, tmp_path):
    """Also in another attempt, which is made of the record."""
    name = os.fsdecode(os.fsencode(str(tmp_path)) + b"/\xff.h5")
    attempt = attempt_of(bench, bench.submit(GOOD), id="b" * 32, item=name, working_folder=name)
    change(bench.store, sa.insert(attempts).values(values_of(attempt)))
    (kept,) = [each for each in bench.store.attempts(attempt.job) if each.id == attempt.id]
    assert (kept.item, kept.working_folder) == (name, name)


def test_a_glob_below_a_folder_with_brackets(tmp_path):
    with running(tmp_path / "a[b]") as bench:
        made = workflow(
            shell("make", "touch x.h5"),
            Stage(name="each", command="echo $item", parallel=Parallel(over="$job_folder/make/*.h5")),
            name="brackets",
        )
        job = bench.run(made)
        assert (job.state, job.reason) == (State.DONE, "")


def test_an_agent_that_is_ended_in_order_does_not_count_against_a_stage(tmp_path):
    gate = tmp_path / "gate"
    made = workflow(shell("wait", f"touch begun; until test -e {gate}; do sleep 0.05; done"))
    with running(tmp_path / "home") as bench:
        job = bench.submit(made)
        wait_for(lambda: list(bench.folder(job).glob(".attempts/*/work/begun")), 30, "the process")
    with running(tmp_path / "home") as bench:
        gate.touch()
        job = bench.ended(job)
        assert job.state is State.DONE
        assert len(bench.store.attempts(job.id)) == 2
        lost = [entry for entry in bench.store.history(job.id) if entry.event == "ProcessLost"]
        assert [entry.told for entry in lost] == ["the agent was ended while it ran"]


def test_a_started_process_is_told_while_it_runs(bench, tmp_path):
    gate = tmp_path / "gate"
    job = bench.submit(workflow(shell("wait", f"until test -e {gate}; do sleep 0.05; done"), name="told"))
    wait_for(lambda: any(each.pid for each in bench.store.attempts(job.id)), 30, "its pid")
    gate.touch()
    assert bench.ended(job).state is State.DONE
