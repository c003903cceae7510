"""What is kept of workflows and jobs, on SQLite and on PostgreSQL."""

import dataclasses
import threading

import pytest

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows import Stage, Workflow
from apsdm_bluesky.workflows.executors import Blame
from apsdm_bluesky.workflows.jobs import JobFilter, JobStore, Retention, StaleError, State
from apsdm_bluesky.workflows.jobs import _events as events
from apsdm_bluesky.workflows.jobs._retention import _make_writable, _remove_tree
from tests.workflows.jobs.samples import shell, workflow

ONE = workflow(Stage(name="one", command="echo $x"), arguments={"x": 1})


def submitted(store: JobStore, made: Workflow = ONE, owner: str = "me", **fields):
    job = store.submit(store.definitions.add(made, actor="me"), {}, owner=owner, **fields)
    assert job is not None
    return job


def ended(store: JobStore, job, *, at: float = 2.0):
    entered = events.StageEntered(at=at, processes=1)
    return store.save(job, [events.Began(at=at), entered, events.StagePassed(at=at)], actor="agent")


# -- definitions --


def test_a_changed_definition_is_another_version(store):
    first = store.definitions.add(ONE, actor="me")
    assert store.definitions.add(ONE, actor="you") == first
    changed = store.definitions.add(dataclasses.replace(ONE, description="better"), actor="you")
    assert (first.version, changed.version) == (1, 2)
    assert store.definitions.get("sample") == changed
    assert store.definitions.get("sample", version=1) == first
    assert [(version, actor) for version, _, actor in store.definitions.versions("sample")] == [
        (1, "me"),
        (2, "you"),
    ]
    assert store.definitions.list() == [changed]


def test_faults_are_told_with_stage_and_key(store):
    bad = workflow(Stage(name="one", command="no-such-program $y"), arguments={})
    with pytest.raises(WorkflowError, match=r"stage 'one', key 'command': 'no-such-program' is not on this"):
        store.definitions.add(bad, actor="me")
    assert store.definitions.list() == []


def test_a_name_that_several_owners_have(store):
    store.definitions.add(ONE, actor="me")
    store.definitions.add(dataclasses.replace(ONE, owner="user"), actor="me")
    with pytest.raises(WorkflowError, match="owned by staff, user: write OWNER/sample"):
        store.definitions.get("sample")
    assert store.definitions.get("sample", owner="user").owner == "user"


@pytest.mark.parametrize("wanted", [{"name": "other"}, {"name": "sample", "version": 7}])
def test_a_definition_that_is_not_there(store, wanted):
    store.definitions.add(ONE, actor="me")
    with pytest.raises(WorkflowError, match="is not known"):
        store.definitions.get(**wanted)


# -- jobs --


def test_a_job_is_read_as_it_was_submitted(store):
    job = submitted(store, run="r", rule="after")
    assert store.get(job.id[:6]) == job
    assert (job.arguments, job.run, job.version) == ({"x": 1}, "r", 1)
    assert [entry.state for entry in store.stages(job)] == [State.PENDING]
    assert [(entry.event, entry.actor) for entry in store.history(job.id)] == [("Submitted", "me")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": 1}, "argument 'y' is not known; known are x"),
        ({"id": 1}, "'id' cannot be an argument's name"),
        ({"a b": 1}, "'a b' cannot be an argument's name"),
    ],
)
def test_arguments_that_cannot_be_used(store, arguments, message):
    kept = store.definitions.add(ONE, actor="me")
    with pytest.raises(WorkflowError, match=message):
        store.submit(kept, arguments, owner="me")


def test_an_argument_that_is_missing(store):
    kept = store.definitions.add(workflow(Stage(name="one", command="echo $path")), actor="me")
    with pytest.raises(WorkflowError, match="argument path is missing; give path=VALUE"):
        store.submit(kept, {}, owner="me")


def test_a_rule_starts_one_job_a_run(store):
    kept = store.definitions.add(ONE, actor="me")
    made = [store.submit(kept, {}, owner="me", run=run, rule="after") for run in ("r", "r", "s")]
    assert [job is not None for job in made] == [True, False, True]
    assert store.submit(kept, {}, owner="me", run="r") is not None, "a person may start as many as they like"


@pytest.mark.parametrize("name", ["", "zz"])
def test_a_job_that_is_not_there(store, name):
    submitted(store)
    with pytest.raises(WorkflowError, match="is not known"):
        store.get(name)


def test_listing(store):
    mine, yours = submitted(store), submitted(store, owner="you", run="r")
    done = ended(store, submitted(store))
    assert {job.id for job in store.list()} == {mine.id, yours.id, done.id}
    assert [job.id for job in store.list(JobFilter(owner="you"))] == [yours.id]
    assert [job.id for job in store.list(JobFilter(run="r"))] == [yours.id]
    assert [job.id for job in store.list(JobFilter(states=[State.DONE]))] == [done.id]
    assert store.list(JobFilter(workflow="other")) == []
    assert len(store.list(JobFilter(limit=2))) == 2
    assert len(store.list(JobFilter(skip=2))) == 1
    assert store.counts() == {State.PENDING: 2, State.DONE: 1}
    assert list(store.unfinished()) == [mine.id, yours.id]


def test_a_change_of_a_job_that_somebody_else_changed_is_void(store):
    job = submitted(store)
    store.cancel(job.id, actor="you")
    with pytest.raises(StaleError):
        store.save(job, [events.Began(at=1.0)], actor="agent")
    assert store.get(job.id).state is State.ABORTED


def test_many_cancel_at_once(store):
    """Each is told that it is cancelled, or that it has ended; nothing else is lost."""
    job = store.save(submitted(store), [events.Began(at=1.0)], actor="agent")
    threads = [threading.Thread(target=store.cancel, args=(job.id,), kwargs={"actor": n}) for n in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.event for entry in store.history(job.id)].count("Cancelled") == 1


def test_hostile_texts_are_kept(store):
    text = "\0 \ud800 ' \" ; DROP TABLE jobs; -- \x1b[31m \u202e"
    job = store.submit(store.definitions.add(ONE, actor="me"), {"x": text}, owner=text, run=text)
    assert store.get(job.id).arguments == {"x": text}
    failed = events.StageFailed(at=1.0, reason=text, blame=Blame.COMMAND)
    assert "DROP TABLE" in store.save(store.get(job.id), [failed], actor=text).reason
    assert "DROP TABLE" in store.get(job.id).reason


# -- resubmission --


def test_resubmission_is_refused_before_the_end(store):
    job = submitted(store)
    with pytest.raises(WorkflowError, match="is pending: wait until it has ended, or cancel it"):
        store.resubmit(job, ONE, owner="me")


def test_resubmission_from_a_stage_that_it_never_came_to(store):
    made = workflow(shell("one", "a=1"), shell("two", "a=1"), shell("three", "a=1"))
    job = submitted(store, made)
    failed = events.StageFailed(at=2.0, reason="no", blame=Blame.COMMAND)
    job = store.save(job, [events.Began(at=1.0), events.StageEntered(at=1.0, processes=1), failed], actor="a")
    with pytest.raises(WorkflowError, match=r"stage 'one' of job .* is not done: begin there, or before"):
        store.resubmit(job, made, first="three", owner="me")
    with pytest.raises(WorkflowError, match="stage 'four' is not in sample: it has one, two, three"):
        store.resubmit(job, made, first="four", owner="me")


def test_lineage_both_ways(store):
    job = ended(store, submitted(store))
    kept = store.definitions.get("sample")
    again = store.resubmit(job, kept, arguments={"x": 2}, owner="you")
    assert (again.parent, again.arguments, again.owner) == (job.id, {"x": 2}, "you")
    assert [child.id for child in store.list(JobFilter(parent=job.id))] == [again.id]


# -- retention --


def test_old_jobs_are_removed_and_pinned_ones_stay(store):
    old, pinned, young = (submitted(store) for _ in range(3))
    for job in (old, pinned):
        ended(store, job, at=100.0)
        (store.folder(job.id) / "one").mkdir(parents=True)
    ended(store, young, at=900.0)
    store.pin(pinned.id, True)
    assert Retention(store, keep_s=500.0, keep=10).remove_old(now=1000.0) == 1
    assert {job.id for job in store.list()} == {pinned.id, young.id}
    assert not store.folder(old.id).exists()
    assert (store.folder(pinned.id) / "one").exists()
    assert store.history(old.id) == []


def test_jobs_beyond_the_number_are_removed(store):
    made = [ended(store, submitted(store)) for _ in range(3)]
    waiting = submitted(store)
    assert Retention(store, keep_s=1e12, keep=2).remove_old(now=1000.0) == 1
    assert {job.id for job in store.list()} == {made[1].id, made[2].id, waiting.id}


def test_a_job_stays_while_another_one_takes_its_results(store):
    job = ended(store, submitted(store), at=1.0)
    store.resubmit(job, store.definitions.get("sample"), owner="me")
    assert Retention(store, keep_s=1.0, keep=10).remove_old(now=1000.0) == 0


def test_a_job_that_is_being_removed_cannot_be_pinned(store):
    job = ended(store, submitted(store))
    assert store.begin_removal(job.id)
    with pytest.raises(WorkflowError, match="is being removed"):
        store.pin(job.id, True)


def test_folders_that_cannot_be_written_are_removed(tmp_path):
    """As somebody else than root: root may write everywhere, so this tells little there."""
    inner = tmp_path / "job" / "one" / "two"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    for folder in (inner, inner.parent):
        folder.chmod(0o555)
    _make_writable(tmp_path / "job")
    assert inner.stat().st_mode & 0o700 == 0o700
    _remove_tree(tmp_path / "job")
    assert not (tmp_path / "job").exists()
