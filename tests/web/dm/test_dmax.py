"""Every call of `dmax`, sync and async, against the real server."""

import datetime as dt
import socket
import time

import httpx
import pytest

from apsdm_bluesky.workflows import Stage, Workflow
from apsdm_bluesky.workflows.executors import Blame

from .clients import dmax
from .clients import session as session_of

DM_WORKFLOW = {
    "name": "example-01",
    "owner": "ann",
    "userAccount": "s8iduser",
    "description": "Workflow example 01",
    "id": "",
    "stages": {
        "01-START": {
            "command": "/bin/date +%Y%m%d%H%M%S",
            "outputVariableRegexList": ["(?P<timeStamp>.*)"],
        },
        "02-ECHO": {"command": "/bin/echo $filePath $timeStamp"},
    },
}


@pytest.fixture
def workflow(request, kind):
    """A definition as a script has it, of a name of its own."""
    from dmax.processing import Workflow as Definition

    return Definition(**DM_WORKFLOW | {"name": f"{request.node.originalname}-{kind}"})


def test_esafs(chief):
    first, second = chief.esafs()
    assert (second.id, second.title) == ("900501", "Ageing of a colloidal gel made of silica")
    assert second.status == "Approved"
    assert second.sector == "08"
    assert (str(second.start), str(second.end)) == ("2026-10-06 08:00:00", "2026-10-09 08:00:00")
    assert [user.is_pi for user in second.users] == [True, False]
    assert second.users[0].badge == "900001"
    assert first.id == "900502"
    assert chief.esafs(year="2026") == [first, second]
    assert chief.esafs(year="2025") == []
    assert len(chief.esafs(beamline="any")) == 2  # those of the sample are of no beamline


def test_esaf(chief):
    assert chief.esaf("900502").users[0].last_name == "Placeholder"
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        chief.esaf("1")


def test_proposals(chief):
    found = chief.proposals()
    assert [one.proposal_id for one in found] == ["0900103", "0900102", "0900101"]
    mail, polymer, gel = found
    assert [one.mail_in for one in found] == [True, False, False]
    assert [one.proprietary for one in found] == [False, True, False]
    assert polymer.duration == dt.timedelta(hours=60)
    assert gel.users[0].is_pi
    assert gel.users[1].institution == "University of Nowhere"
    assert [one.title for one in chief.proposals(cycle="2027-1")] == [mail.title]


def test_proposal(chief):
    assert chief.proposal("0900101").title == "Ageing of a colloidal gel made of silica"
    assert chief.proposal("900101", cycle="2026-3").proposal_id == "0900101"
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        chief.proposal("900101", cycle="2027-1")


def test_the_facility_shows_people_what_they_take_part_in(tiled_server, kind):
    with dmax(tiled_server, "bsample", kind, station=tiled_server.config.station) as client:
        assert [one.id for one in client.esafs()] == ["900501"]
        assert [one.proposal_id for one in client.proposals()] == ["0900101"]
        for call in (client.esaf, client.proposal):
            with pytest.raises(httpx.HTTPStatusError, match="404"):
                call("900502" if call == client.esaf else "0900102")


def test_without_a_station_it_is_the_one_that_is_here(tiled_server, kind, gel):
    with dmax(tiled_server, "chief", kind) as client:
        assert len(client.esafs()) == 2
        assert len(client.proposals()) == 3
        assert client.esaf("900501")
        assert client.proposal("0900101")
        assert gel.name in [one.name for one in client.experiments()]
        assert client.experiment(name=gel.name).id == gel.id


def test_another_station_has_nothing_here(tiled_server, kind, gel):
    with dmax(tiled_server, "chief", kind, station="99ID") as client:
        assert client.esafs() == client.proposals() == client.experiments() == []
        for call in (lambda: client.esaf("900501"), lambda: client.experiment(name=gel.name)):
            with pytest.raises(httpx.HTTPStatusError, match="404"):
                call()


def test_experiments(ann, chief, gel, melt):
    assert [one.name for one in ann.experiments()] == [gel.name]
    assert {melt.name, gel.name} <= {one.name for one in chief.experiments()}


def test_experiment(ann, gel):
    found = ann.experiment(name=gel.name)
    assert found == ann.experiment(id=gel.id)
    assert (found.name, found.description, found.type.name) == ("gel-2026-3", "Ageing of a gel", "XPCS")
    assert found.station.name == gel.station
    assert found.users == ["ann", "bsample"]
    assert (found.start.date(), found.end.date()) == (gel.start, gel.end)
    assert (found.start.time(), found.end.time()) == (dt.time(), dt.time(23, 59, 59))
    assert found.created.timestamp() == pytest.approx(gel.created, abs=1e-3)
    assert (found.data_path, found.analysis_path) == (str(gel.data), str(gel.analysis))
    assert found.system_path == str(gel.system)
    assert found.storage_path == str(gel.root)
    assert found.storage_uri == f"file://{socket.gethostname()}{gel.root}"
    assert found.folders_are_managed


def test_an_experiment_without_days_began_when_it_was_made_and_has_no_end(chief, melt):
    found = chief.experiment(name=melt.name)
    assert found.start.date() == found.created.date()
    assert found.end == dt.datetime(9999, 12, 31, tzinfo=dt.UTC)


def test_experiments_of_others_are_none(ann, melt):
    for which in ({"name": melt.name}, {"id": melt.id}, {"name": "no such one"}, {"id": 2**40}):
        with pytest.raises(httpx.HTTPStatusError, match="404"):
            ann.experiment(**which)


def test_start_data_archive_queue(ann, gel, watched, daqs):
    started = ann.start_data_archive_queue(watched, gel.name, skip=".pixi/*, *.tmp")
    assert started.status == "running"
    assert started.data_directory == str(watched)
    assert started.experiment_name == gel.name
    assert started.station_name == gel.station
    assert started.storage_directory == str(gel.data)
    assert started.storage_host == socket.gethostname()
    assert started.workflow_job_owner == "ann"
    assert started.skip_file_path_pattern == ".pixi/*,*.tmp"
    assert started.start == pytest.approx(time.time(), abs=60)
    kept = daqs.get(started.id)
    assert kept.options.exclude == (".pixi/*", "*.tmp")
    assert not kept.options.existing
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        ann.start_data_archive_queue(watched, gel.name)


def test_add_workflow(ann, jobs, workflow):
    added = ann.add_workflow(workflow)
    assert (added.name, added.owner, added.version) == (workflow.name, "ann", 1)
    assert added.user_account == "s8iduser"
    assert added.stages == workflow.stages
    kept = jobs.store.definitions.get(workflow.name, owner="ann")
    assert [stage.name for stage in kept.stages] == ["01-START", "02-ECHO"]
    assert kept.stages[0].outputs == ("(?P<timeStamp>.*)",)
    assert jobs.store.definitions.versions(workflow.name, owner="ann")[0][2] == "ann (DM)"
    assert ann.workflow(workflow.name) == added
    assert added in ann.workflows()
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        ann.add_workflow(workflow)


def test_set_workflow(ann, workflow):
    ann.add_workflow(workflow)
    after = ann.set_workflow(workflow.name, workflow.model_copy(update={"description": "better"}))
    assert (after.description, after.version) == ("better", 2)
    assert ann.workflow(workflow.name) == after
    assert ann.set_workflow(workflow.name, after).version == 2  # the same once more changes nothing


def test_set_workflow_of_one_that_is_not_there(ann, workflow):
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        ann.set_workflow(workflow.name, workflow)


def test_update_workflow(ann, workflow, jobs):
    ann.add_workflow(workflow)
    after = ann.update_workflow(workflow.name, {"description": "patched"})
    assert (after.description, after.stages) == ("patched", workflow.stages)
    assert jobs.store.definitions.get(workflow.name, owner="ann").user_account == "s8iduser"


def test_update_workflow_keeps_what_the_client_does_not_know_in_the_version_before(ann, jobs, workflow):
    """The client sends back a stage's command and outputs, and no more."""
    stage = Stage(name="01-WAIT", command="echo $filePath", run_if="$filePath == 'x'", working_folder="w")
    jobs.store.definitions.add(Workflow(name=workflow.name, owner="ann", stages=(stage,)), actor="test")
    assert ann.update_workflow(workflow.name, {"description": "patched"}).version == 2
    definitions = jobs.store.definitions
    assert definitions.get(workflow.name, owner="ann").stages[0].run_if is None
    assert definitions.get(workflow.name, owner="ann", version=1).stages[0].run_if == "$filePath == 'x'"


def test_update_workflow_refuses_one_that_dm_cannot_say(ann, jobs, workflow):
    stages = (Stage(name="sum", command="echo"), Stage(name="note", call="math:sqrt"))
    jobs.store.definitions.add(Workflow(name=workflow.name, owner="ann", stages=stages), actor="test")
    shown = ann.workflow(workflow.name)
    assert list(shown.stages) == ["sum", "note"]
    assert shown.stages["note"].command == "math:sqrt"
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        ann.update_workflow(workflow.name, {"description": "patched"})


def test_workflows_of_others_are_none(ann, jobs):
    names = {one.name for one in ann.workflows()}
    assert jobs.workflow.name not in names
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        ann.workflow(jobs.workflow.name)


def test_submit_processing_job(ann, jobs, workflow):
    ann.add_workflow(workflow)
    job = ann.submit_processing_job(workflow.name, filePath="/dev/null", count=3, ok=True, angles=[1.5, 2])
    assert (job.status, job.owner, job.file_count) == ("pending", "ann", 1)
    assert job.workflow.name == workflow.name
    assert job.submitted.timestamp() == pytest.approx(time.time(), abs=60)
    kept = jobs.store.get(job.id)
    assert kept.arguments == {"filePath": "/dev/null", "count": 3, "ok": True, "angles": (1.5, 2)}
    assert (kept.owner, kept.version) == ("ann", 1)
    assert ann.processing_job(job.id) == job


@pytest.mark.parametrize("arguments", [{}, {"filePath": {"a": 1}}, {"filePath": None}, {"filePath": [[1]]}])
def test_submit_processing_job_with_what_it_cannot_be_given(ann, workflow, arguments):
    ann.add_workflow(workflow.model_copy(update={"name": f"{workflow.name}-{len(str(arguments))}"}))
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        ann.submit_processing_job(f"{workflow.name}-{len(str(arguments))}", **arguments)


def test_submit_processing_job_of_no_workflow(ann):
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        ann.submit_processing_job("no such one")


def test_processing_job_with_its_output(ann, jobs):
    kept = jobs.failed(owner="ann")
    job = ann.processing_job(kept.id)
    assert job.status == "failed"
    assert "does not exist" in job.error_message
    assert job.duration == pytest.approx(kept.ended - kept.started, abs=1e-3)
    first, second = job.workflow.stages.values()
    assert first.child_processes_completed == second.child_processes_completed == 1
    (well,), (bad,) = first.child_processes.values(), second.child_processes.values()
    assert (well.exit_status, well.status, well.standard_output) == (0, "done", "/x\n")
    assert well.command == "cat 'a b'"
    assert well.duration == pytest.approx(3, abs=0.1)
    assert (bad.exit_status, bad.status) == (1, "failed")
    assert bad.standard_error == "first\ncat: /x: \x1b[31mNo such file\n"
    assert {well.number, bad.number} == {0, 1}


def test_processing_job_counts_processes_that_have_not_ended(ann, jobs):
    job = jobs.begin(jobs.start(owner="ann"))
    running = jobs.process(job, started=time.time())
    jobs.enter(job, running, jobs.process(job, number=2))
    stage = ann.processing_job(job.id).workflow.stages["sum"]
    assert stage.child_processes == {}
    counts = (stage.child_processes_running, stage.child_processes_queued, stage.child_processes_completed)
    assert counts == (1, 1, 0)


def test_processing_job_of_a_process_that_was_never_started(ann, jobs):
    job = jobs.begin(jobs.start(owner="ann"))
    never = jobs.process(job, ended=True, status=None, blame=Blame.SYSTEM)
    jobs.enter(job, never)
    (process,) = ann.processing_job(job.id).workflow.stages["sum"].child_processes.values()
    assert (process.exit_status, process.status) == (-1, "failed")


def test_much_output_is_cut_and_the_end_of_it_comes(ann, jobs):
    job = jobs.begin(jobs.start(owner="ann"))
    much = b"first line\n" + b"x" * (2 << 20) + b"\nlast line\n"
    jobs.enter(job, jobs.process(job, stdout=much, ended=True))
    (process,) = ann.processing_job(job.id).workflow.stages["sum"].child_processes.values()
    told, _, rest = process.standard_output.partition("\n")
    assert told == f"[the first {len(much) - (1 << 20)} bytes are left out; the job's page has all]"
    assert rest.endswith("\nlast line\n")
    assert len(rest) == 1 << 20


def test_the_output_of_many_processes_is_bounded(ann, jobs):
    job = jobs.begin(jobs.start(owner="ann"))
    many = [jobs.process(job, number=n, stdout=b"y" * (1 << 20) + b"end", ended=True) for n in range(1, 20)]
    jobs.enter(job, *many)
    processes = ann.processing_job(job.id).workflow.stages["sum"].child_processes
    assert len(processes) == 19
    texts = [process.standard_output for process in processes.values()]
    assert sum(text.startswith("[only the last lines: this answer has 16 MiB") for text in texts) == 3


def test_arguments_and_outputs_stand_beside_the_fields_and_hide_none(tiled_server, jobs):
    kept = jobs.store.submit(jobs.workflow, {"path": "/x"}, owner="ann")
    free = Workflow(name="free", owner="ann", stages=(Stage(name="one", command="echo"),))
    free = jobs.store.definitions.add(free, actor="test")
    given = {"errorCode": 7, "status": "odd", "run_uid": "12345", "wide": float("inf")}
    odd = jobs.store.submit(free, given, owner="ann")
    with session_of(tiled_server, "ann") as http:
        record = http.get(f"/dm/processingJobsByOwner/ann/{kept.id}").json()
        assert (record["path"], record["count"]) == ("/x", 1)
        record = http.get(f"/dm/processingJobsByOwner/ann/{odd.id}").json()
    assert "errorCode" not in record
    assert (record["status"], record["run_uid"], record["wide"]) == ("pending", "12345", "inf")


def test_processing_jobs(tiled_server, jobs, kind):
    kept = [jobs.start(owner=f"list-{kind}") for _ in range(3)]
    with dmax(tiled_server, f"list-{kind}", kind) as client:
        assert {job.id for job in client.processing_jobs()} == {job.id for job in kept}
        pages = [client.processing_jobs(limit=2, offset=start) for start in (0, 2)]
    assert [len(page) for page in pages] == [2, 1]
    assert len({job.id for page in pages for job in page}) == 3


def test_jobs_of_others_are_none(ann, jobs):
    job = jobs.start(owner="pete")
    for uid in (job.id, job.id[:8], "no such one"):
        with pytest.raises(httpx.HTTPStatusError, match="404"):
            ann.processing_job(uid)


def test_the_login_file_and_the_addresses_of_the_environment_will_do(
    tiled_server, tmp_path, monkeypatch, gel
):
    """A script written for DM, with nothing but its environment changed."""
    from dmax.client import SyncClient

    from tests.people import PASSWORD, added

    login = tmp_path / "login"
    login.write_text(f"{added(tiled_server, 'ann')}|{PASSWORD}\n")
    monkeypatch.setenv("DM_LOGIN_FILE", str(login))
    monkeypatch.setenv("DM_STATION_NAME", tiled_server.config.station)
    for name in ("APS_DB", "DS", "PROC", "DAQ"):
        monkeypatch.setenv(f"DM_{name}_WEB_SERVICE_URL", tiled_server.uri)
    client = SyncClient()
    assert [one.name for one in client.experiments()] == [gel.name]
    client._ds_context.client.close()
