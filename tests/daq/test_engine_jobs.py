"""The workflows of DAQs: for each file, or once at the end."""

from collections.abc import Sequence

from apsdm_bluesky.daq import Daq, DaqState
from apsdm_bluesky.workflows import Stage, Workflow
from apsdm_bluesky.workflows.jobs import ENDED, Job, JobFilter, State
from tests.daq.bench import Bench, Experiment
from tests.daq.trees import write
from tests.waiting import wait_for


def define(bench: Bench, name: str, **arguments: str | None) -> None:
    stages = (Stage(name="01", command="echo done"),)
    workflow = Workflow(name=name, owner="eva", arguments=arguments, stages=stages)
    bench.jobs.definitions.add(workflow, actor="eva")


def jobs_of(experiment: Experiment, daq: Daq, count: int) -> Sequence[Job]:
    """All that it has started, at their end."""

    def found() -> list[Job]:
        every = experiment.bench.jobs.list(JobFilter(limit=None))
        return [job for job in every if (job.rule or "").startswith(f"{daq.kind} {daq.id}")]

    wait_for(lambda: len(found()) >= count and all(job.state in ENDED for job in found()), 60, "the jobs")
    assert len(found()) == count
    return found()


def test_one_for_each_file_is_given_what_it_needs(experiment: Experiment) -> None:
    define(experiment.bench, "each", filePath=None, sha256=None, experimentName=None, title=None)
    write(experiment.source / "a b/x.dat", b"x")
    write(experiment.source / "y.dat", b"y")
    options = {"workflow": "each", "destination": "in", "arguments": {"title": "scan of $filePath"}}
    upload = experiment.upload(**options)
    files = experiment.files(upload)
    found = {job.arguments["filePath"]: job for job in jobs_of(experiment, upload, 2)}
    assert set(found) == {f"{experiment.data}/in/a b/x.dat", f"{experiment.data}/in/y.dat"}
    for path, job in found.items():
        file = files[path.removeprefix(f"{experiment.data}/in/")]
        assert job.state is State.DONE
        assert job.arguments == {
            "filePath": path,
            "sha256": file.sha256,
            "experimentName": experiment.name,
            "title": f"scan of {path}",
        }
        assert (job.run, job.owner) == (file.run, "eva")
    again = experiment.upload(**options)
    assert jobs_of(experiment, again, 0) == []
    define(experiment.bench, "other", filePath=None)
    other = experiment.upload(workflow="other", destination="in")
    assert len(jobs_of(experiment, other, 2)) == 2


def test_once_at_the_end(experiment: Experiment) -> None:
    define(experiment.bench, "once", dataDir=None, daqId=None)
    write(experiment.source / "x.dat")
    daq = experiment.start(workflow="once", each=False, destination="in")
    experiment.wait_catalogued(daq, "x.dat")
    assert jobs_of(experiment, daq, 0) == []
    experiment.stop(daq)
    (job,) = jobs_of(experiment, daq, 1)
    assert job.state is State.DONE
    assert job.arguments == {"dataDir": f"{experiment.data}/in", "daqId": daq.id}


def test_one_that_is_not_known_is_a_job_that_has_failed(experiment: Experiment) -> None:
    write(experiment.source / "x.dat")
    upload = experiment.upload(workflow="nobody's")
    assert upload.state is DaqState.DONE
    (job,) = jobs_of(experiment, upload, 1)
    assert job.state is State.FAILED
    assert "nobody's" in job.reason
    assert f"upload {upload.id}: x.dat" in job.reason


def test_one_that_lacks_an_argument_too(experiment: Experiment) -> None:
    define(experiment.bench, "needs", energy=None)
    write(experiment.source / "x.dat")
    (job,) = jobs_of(experiment, experiment.upload(workflow="needs"), 1)
    assert job.state is State.FAILED
    assert "energy" in job.reason


def test_one_that_is_given_what_it_does_not_know_too(experiment: Experiment) -> None:
    define(experiment.bench, "knows", filePath=None)
    write(experiment.source / "x.dat")
    upload = experiment.upload(workflow="knows", arguments={"unknown": "$filePath"})
    (job,) = jobs_of(experiment, upload, 1)
    assert job.state is State.FAILED
    assert "unknown" in job.reason
