"""Calls beyond those of `dmax`: what the facility's own client has too, and what anybody may send."""

import json
from http.client import HTTPConnection

import pytest

from apsdm_bluesky.workflows.jobs import State

from .clients import encoded, encoded_json, told


def start(http, experiment, folder, call="startDaq", **info):
    path = f"/dm/experimentsByName/{encoded(experiment)}/{call}/{encoded(str(folder))}"
    return http.post(path, params={"taskInfo": encoded_json(info)})


# ---- who may see what


@pytest.mark.parametrize(
    "path",
    [
        "/dm/",
        "/dm/nothing",
        "/dm/experiments",
        "/dm/login",
        "/dm/workflowsByOwner/ann",
        "/dm/openapi.json",
        "/dm",
    ],
)
def test_who_is_not_logged_in_learns_nothing(tiled_server, path):
    with tiled_server.http(anonymous=True) as http:
        for method in ("GET", "PUT", "DELETE", "PATCH"):
            told(http.request(method, path), 401)


def test_there_is_no_such_call(ann_http):
    assert "no such call" in told(ann_http.get("/dm/nothing"), 404)
    assert "no such call" in told(ann_http.delete("/dm/workflows/addWorkflow"), 405)
    told(ann_http.get("/dm/docs"), 404)
    told(ann_http.get("/dm/openapi.json"), 404)


def test_what_is_others_is_none(ann_http):
    assert "not yours" in told(ann_http.get("/dm/processingJobsByOwner/pete"), 404)
    told(ann_http.get(f"/dm/workflowsByOwner/pete/{encoded('x')}"), 404)
    start_of_pete = f"/dm/processingJobsByWorkflow/pete/{encoded('x')}/startProcessingJob"
    told(ann_http.post(start_of_pete), 404)


def test_workflows_of_others_are_read_and_started_as_on_the_pages(ann_http, jobs):
    owner, name = jobs.workflow.owner, jobs.workflow.name
    assert name in [one["name"] for one in ann_http.get(f"/dm/workflowsByOwner/{owner}").json()]
    assert ann_http.get(f"/dm/workflowsByOwner/{owner}/{encoded(name)}").json()["owner"] == owner
    path = f"/dm/processingJobsByWorkflow/{owner}/{encoded(name)}/startProcessingJob"
    started = ann_http.post(path, params={"argsDict": encoded_json({"path": "/x"})}).json()
    assert (started["owner"], started["workflow"]["owner"]) == ("ann", owner)
    told(ann_http.get(f"/dm/processingJobsByOwner/{owner}"), 404)


def test_a_daq_may_start_a_workflow_of_others(ann_http, gel, watched, daqs, jobs):
    name, owner = jobs.workflow.name, jobs.workflow.owner
    record = start(ann_http, gel.name, watched, workflowName=name, workflowOwner=owner).json()
    assert (record["workflowName"], record["workflowOwner"], record["owner"]) == (name, owner, "ann")
    assert daqs.get(record["id"]).owner == "ann"


def test_staff_see_what_is_others(chief_http, jobs):
    job = jobs.start(owner="ann")
    path = f"/dm/processingJobsByOwner/ann/{job.id}"
    assert chief_http.get(path).json()["owner"] == "ann"
    assert chief_http.get(path).headers["Cache-Control"] == "no-store"
    told(chief_http.get(f"/dm/processingJobsByOwner/pete/{job.id}"), 404)
    listed = chief_http.get("/dm/workflowsByOwner/staff").json()
    assert jobs.workflow.name in [one["name"] for one in listed]


def test_only_staff_write_workflows_of_others(ann_http, chief_http):
    spec = {"name": "of-pete", "owner": "pete", "stages": {"01": {"command": "echo"}}}
    params = {"workflow": encoded_json(spec)}
    told(ann_http.post("/dm/workflows/addWorkflow", params=params), 403)
    assert chief_http.post("/dm/workflows/addWorkflow", params=params).json()["owner"] == "pete"


def test_a_workflow_without_an_owner_is_of_who_sends_it(ann_http):
    spec = {"name": "mine", "description": None, "userAccount": "", "stages": {"01": {"command": "echo"}}}
    added = ann_http.post("/dm/workflows/addWorkflow", params={"workflow": encoded_json(spec)}).json()
    assert (added["owner"], added["userAccount"], added["description"]) == ("ann", "", "")


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"name": "x"},
        {"name": "x", "stages": []},
        {"name": "x", "stages": {"01": "echo"}},
        {"name": "x", "stages": {"01": {"command": 3}}},
        {"name": "x", "stages": {"01": {"command": "echo '"}}},
        {"name": 3, "stages": {"01": {"command": "echo"}}},
        {"name": "x", "stages": {"01": {"command": "echo", "outputVariableRegexList": ["("]}}},
    ],
)
def test_a_workflow_that_is_none_is_told(ann_http, spec):
    told(ann_http.post("/dm/workflows/addWorkflow", params={"workflow": encoded_json(spec)}), 400)


# ---- lists of jobs


def test_jobs_may_be_chosen_by_state_and_workflow(ann_http, jobs):
    job = jobs.failed(owner="ann")

    def listed(**query):
        answer = ann_http.get("/dm/processingJobsByOwner/ann", params={"queryDict": encoded_json(query)})
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json()]

    assert job.id in listed(status="failed")
    assert job.id in listed(status=["failed", "done"], **{"workflow.name": "checksum"})
    assert job.id not in listed(status="done")
    assert listed(**{"workflow.name": "no such one"}) == []


@pytest.mark.parametrize(
    "query", [{"status": "lost"}, {"status": 3}, {"status": [[]]}, {"workflow.name": 3}, {"$where": "1"}]
)
def test_a_choice_that_is_not_known_is_told(ann_http, query):
    message = told(
        ann_http.get("/dm/processingJobsByOwner/ann", params={"queryDict": encoded_json(query)}), 400
    )
    assert message.startswith("queryDict, ")


def test_only_some_keys_of_jobs_may_be_asked_for(ann_http, jobs):
    jobs.start(owner="ann")
    params = {"keyList": encoded_json(["id", "status"]), "limit": 1}
    (record,) = ann_http.get("/dm/processingJobsByOwner/ann", params=params).json()
    assert set(record) == {"id", "status"}
    told(ann_http.get("/dm/processingJobsByOwner/ann", params={"keyList": encoded_json("SOME")}), 400)


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": "many"}, {"skip": -1}, {"skip": 10**30}])
def test_a_page_that_cannot_be_is_told(ann_http, params):
    told(ann_http.get("/dm/processingJobsByOwner/ann", params=params), 400)


def test_a_job_can_be_stopped_once(ann_http, pete_http, jobs):
    job = jobs.start(owner="ann")
    path = f"/dm/processingJobsByOwner/ann/{job.id}/stopProcessingJob"
    told(pete_http.post(path), 404)
    answer = ann_http.post(path)
    assert answer.json()["status"] in (State.ABORTING, State.ABORTED)
    history = [line.actor for line in jobs.store.history(job.id)]
    assert "ann (DM)" in history
    if jobs.store.get(job.id).state is State.ABORTED:
        told(ann_http.post(path), 409)


def test_a_job_of_a_workflow_that_is_not_known_is_shown(ann_http, jobs):
    from apsdm_bluesky.workflows import Workflow

    unknown = Workflow(name="gone", owner="ann", version=0)
    job = jobs.store.refuse(unknown, {}, reason="not known", run="run-1", rule="rule", actor="test")
    record = ann_http.get(f"/dm/processingJobsByOwner/ann/{job.id}").json()
    assert (record["status"], record["errorMessage"]) == ("failed", "not known")
    assert record["workflow"]["name"] == "gone"
    assert record["workflow"]["stages"] == {}


# ---- experiments


def test_staff_make_experiments(chief_http, ann_http, experiments):
    given = {
        "name": "made-over-the-wire",
        "typeName": "XPCS",
        "esafId": 900501,
        "startDate": "07-Oct-26",
        "endDate": "2026-10-08",
    }
    params = {"experiment": encoded_json(given)}
    told(ann_http.post("/dm/experiments/addExperiment", params=params), 403)
    made = chief_http.post("/dm/experiments/addExperiment", params=params).json()
    kept = experiments.get("made-over-the-wire")
    assert made["id"] == kept.id
    assert kept.users == ("aexample", "bsample")
    assert kept.description == "Ageing of a colloidal gel made of silica"
    assert (str(kept.start), str(kept.end)) == ("2026-10-07", "2026-10-08")
    assert kept.data.is_dir()
    assert experiments.changes(kept)[0].actor == "chief (DM)"
    told(chief_http.post("/dm/experiments/addExperiment", params=params), 409)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"name": "../x"},
        {"name": 3},
        {"name": "x1", "rootPath": "2026-3"},
        {"name": "x1", "startDate": "tomorrow"},
        {"name": "x1", "startDate": "2026-10-08", "endDate": "2026-10-07"},
        {"name": "x1", "experimentUsernameList": "ann"},
        {"name": "x1", "experimentUsernameList": ["a b"]},
        {"name": "x1", "stationName": "99ID"},
        {"name": "x1", "esafId": "1"},
        {"name": "x1", "description": True},
    ],
)
def test_an_experiment_that_cannot_be_is_told(chief_http, given):
    params = {"experiment": encoded_json(given)}
    told(chief_http.post("/dm/experiments/addExperiment", params=params), 400)


def test_the_numbers_of_an_experiment_may_lack_their_zeros(chief_http, experiments):
    given = {"name": "zeros", "proposalId": 900101, "esafId": "0900501"}
    made = chief_http.post("/dm/experiments/addExperiment", params={"experiment": encoded_json(given)}).json()
    assert (made["proposalId"], made["esafId"]) == ("0900101", "900501")
    assert experiments.get("zeros").proposal == "0900101"


def test_numbers_that_the_facility_does_not_know_are_told_without_its_file(chief_http):
    given = {"name": "numbers", "proposalId": 424242}
    answer = chief_http.post("/dm/experiments/addExperiment", params={"experiment": encoded_json(given)})
    message = told(answer, 400)
    assert "proposalId '424242'" in message
    assert "/" not in message


def test_an_experiment_of_the_year_one_can_be_read(chief_http, experiments):
    given = {"name": "old", "startDate": "0001-01-01", "endDate": "9999-12-31"}
    made = chief_http.post("/dm/experiments/addExperiment", params={"experiment": encoded_json(given)})
    assert made.json()["startDate"] == "0001-01-01 00:00:00"
    assert made.json()["endDate"] == "9999-12-31 23:59:59"


def test_all_experiments_are_listed(chief_http, pete_http, gel):
    assert gel.name in [one["name"] for one in chief_http.get("/dm/experiments").json()]
    assert pete_http.get("/dm/experiments").json() == []


# ---- DAQs and uploads


def test_what_a_daq_is_asked_for(ann_http, gel, watched, daqs, jobs):
    spec = {"name": "per-file", "stages": {"01": {"command": "echo $filePath"}}}
    ann_http.post("/dm/workflows/addWorkflow", params={"workflow": encoded_json(spec)})
    info = {
        "filePathPattern": "run*/*.h5",
        "skipFilePathPattern": "*/tmp/*, *.part",
        "excludeFileExtensions": "log,.bak",
        "processHiddenFiles": True,
        "processExistingFiles": "True",
        "destDirectory": "detector/raw",
        "maxRunTimeInHours": 2,
        "workflowName": "per-file",
        "workflowOwner": "ann",
        "workflowJobOwner": "ann",
        "workflowArgs": {"type": "Multitau", "n": 3},
        "uploadDataDirectoryOnExit": str(watched),
        "skipChecksum": True,
        "skipCatalog": False,
        "removeSourceFiles": False,
    }
    record = start(ann_http, gel.name, watched, **info).json()
    assert record["storageDirectory"] == f"{gel.data}/detector/raw"
    assert record["workflowName"] == "per-file"
    options = daqs.get(record["id"]).options
    assert options.include == ("run*/*.h5",)
    assert options.exclude == ("*/tmp/*", "*.part", "*.log", "*.bak")
    assert (options.hidden, options.existing, options.upload_on_exit) == (True, True, True)
    assert (options.skip_transfer, options.skip_checksum, options.skip_catalogue) == (False, True, False)
    assert (options.destination, options.max_run_time_s) == ("detector/raw", 7200.0)
    assert (options.workflow, options.workflow_owner, options.each) == ("per-file", "ann", True)
    assert options.arguments == {"type": "Multitau", "n": 3}
    assert daqs.get(record["id"]).owner == "ann"


@pytest.mark.parametrize(
    ("info", "told_of"),
    [
        ({"skipPlugins": "x"}, "skipPlugins"),
        ({"experimentFilePath": "a"}, "experimentFilePath"),
        ({"processHiddenFiles": "perhaps"}, "processHiddenFiles"),
        ({"processHiddenFiles": []}, "processHiddenFiles"),
        ({"removeSourceFiles": True}, "removes nothing"),
        ({"useAnalysisDirectoryAsRoot": True}, "data"),
        ({"maxRunTimeInHours": 0}, "maxRunTimeInHours"),
        ({"maxRunTimeInHours": "long"}, "maxRunTimeInHours"),
        ({"maxRunTimeInHours": []}, "maxRunTimeInHours"),
        ({"filePathPattern": 3}, "filePathPattern"),
        ({"filePathPattern": "a", "includeFileExtensions": "h5"}, "not both"),
        ({"destDirectory": "../elsewhere"}, "destination"),
        ({"destDirectory": "/elsewhere"}, "destination"),
        ({"uploadDestDirectoryOnExit": "elsewhere"}, "uploadDestDirectoryOnExit"),
        ({"uploadDataDirectoryOnExit": "/elsewhere"}, "uploadDataDirectoryOnExit"),
        ({"workflowName": "no such one"}, "workflowName"),
        ({"workflowArgs": []}, "workflowArgs"),
        ({"workflowArgs": [1]}, "workflowArgs"),
        ({"workflowArgs": {"a": [1]}}, "workflowArgs"),
    ],
)
def test_what_a_daq_cannot_be_asked_for_is_told(ann_http, gel, tmp_path, info, told_of):
    if info == {"workflowArgs": []}:
        info = {"workflowArgs": "type:Multitau"}
    assert told_of in told(start(ann_http, gel.name, tmp_path, **info), 400)


def test_jobs_of_a_daq_may_be_others_for_staff_only(ann_http, chief_http, gel, watched, daqs):
    told(start(ann_http, gel.name, watched, workflowJobOwner="pete"), 403)
    told(start(ann_http, gel.name, watched, workflowName="x", workflowOwner="pete"), 400)
    record = start(chief_http, gel.name, watched, workflowJobOwner="paul").json()
    assert record["workflowJobOwner"] == "paul"


@pytest.mark.parametrize("folder", ["@detector:/data", "user@host:/data", "host:/data"])
def test_folders_of_other_machines_are_told(ann_http, gel, folder):
    assert "another machine" in told(start(ann_http, gel.name, folder), 400)


def test_only_staff_have_any_folder_taken_and_only_where_that_may_be(ann_http, chief_http, gel, watched):
    for folder in ("/usr", "/no such place", "relative", f"{watched}/../../../../../../../../usr"):
        assert "none of the folders" in told(start(ann_http, gel.name, folder), 403)
    (watched / "link").symlink_to("/usr")
    told(start(ann_http, gel.name, watched / "link"), 403)
    assert "daq.sources" in told(start(chief_http, gel.name, "/usr"), 400)
    assert "files go" in told(start(chief_http, gel.name, watched.parent.parent), 400)
    assert "not there" in told(start(ann_http, gel.name, watched / "missing"), 400)
    told(start(ann_http, gel.name, watched / ("x" * 5000)), 400)
    told(start(ann_http, gel.name, watched / ("y/" * 5000)), 400)


def test_only_who_takes_part_has_files_taken(pete_http, ann_http, gel, melt, watched):
    told(start(pete_http, gel.name, watched), 404)
    told(start(ann_http, melt.name, watched), 404)


def test_a_daq_is_seen_by_those_who_take_part_and_stopped(ann_http, pete_http, chief_http, gel, watched):
    record = start(ann_http, gel.name, watched).json()
    for who in (ann_http, chief_http):
        assert record["id"] in [one["id"] for one in who.get("/dm/experimentDaqs").json()]
        assert who.get(f"/dm/experimentDaqs/{record['id']}").json() == record
    assert pete_http.get("/dm/experimentDaqs").json() == []
    told(pete_http.get(f"/dm/experimentDaqs/{record['id']}"), 404)
    told(ann_http.get(f"/dm/experimentUploads/{record['id']}"), 404)
    told(ann_http.get(f"/dm/experimentDaqs/{record['id'][:8]}"), 404)
    path = f"/dm/experimentsByName/{encoded(gel.name)}/stopDaq/{encoded(str(watched))}"
    told(pete_http.post(path), 404)
    assert ann_http.post(path).json()["status"] in ("stopping", "done")


def test_no_daq_to_stop_is_told(ann_http, gel):
    path = f"/dm/experimentsByName/{encoded(gel.name)}/stopDaq/{encoded('/nowhere')}"
    assert "No DAQ" in told(ann_http.post(path), 404)


def test_an_upload_of_one_file(ann_http, pete_http, gel, watched, daqs):
    (watched / "a.h5").write_bytes(b"x")
    for bad in ("/etc/passwd", "../a.h5"):
        told(start(ann_http, gel.name, watched, "upload", experimentFilePath=bad), 400)
    record = start(ann_http, gel.name, watched, "upload", experimentFilePath="a.h5").json()
    assert record["dataDirectory"] == str(watched / "a.h5")
    assert daqs.get(record["id"]).options.existing
    assert record["id"] in [one["id"] for one in ann_http.get("/dm/experimentUploads").json()]
    assert ann_http.get(f"/dm/experimentUploads/{record['id']}").json()["id"] == record["id"]
    told(ann_http.get(f"/dm/experimentDaqs/{record['id']}"), 404)
    stop = f"/dm/experimentUploads/{record['id']}/stopUpload"
    told(pete_http.post(stop), 404)
    assert ann_http.post(stop).json()["status"] in ("stopping", "done")


def test_what_ended_tells_why(ann_http, gel, watched, daqs):
    record = start(ann_http, gel.name, watched).json()
    daqs.cancel(record["id"], actor="test")
    after = ann_http.get(f"/dm/experimentDaqs/{record['id']}").json()
    assert after["status"] == "aborted"
    assert after["endTime"] >= after["startTime"]


# ---- addresses


def test_quotes_may_be_encoded_and_slashes_may_stand_at_the_end(ann_http, gel):
    plain = f"/dm/experimentsByName/{encoded(gel.name)}"
    for path in (plain, plain.replace("'", "%27"), f"{plain}/", f"{plain}//", plain.replace("=", "%3D")):
        assert ann_http.get(path).json()["name"] == gel.name


def test_an_address_that_is_too_long_is_refused(tiled_server, ann_http):
    """By a plain connection: clients refuse to send it, and the server to read it."""
    connection = HTTPConnection(tiled_server.uri.removeprefix("http://"), timeout=30)
    path = "/dm/workflows/addWorkflow?workflow=" + "A" * (64 << 10)
    connection.request("POST", path, headers={"Cookie": f"dm_session={ann_http.cookies['dm_session']}"})
    assert connection.getresponse().status == 400
    connection.close()


def test_an_address_of_60_kib_is_read(ann_http):
    spec = {"name": "long", "description": "x" * 33_000, "stages": {"01": {"command": "echo"}}}
    params = {"workflow": encoded_json(spec)}
    assert 58_000 < len(params["workflow"]) < 64_000
    assert ann_http.post("/dm/workflows/addWorkflow", params=params).json()["name"] == "long"


def test_a_zero_byte_in_an_address_is_told(ann_http):
    told(ann_http.get("/dm/workflowsByOwner/a%00b"), 400)


def test_the_protocol_has_no_websockets(tiled_server):
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    with pytest.raises(InvalidStatus):
        connect(f"{tiled_server.uri.replace('http', 'ws')}/dm/login", proxy=None)


def test_json_is_ascii_whatever_a_name_holds(chief_http):
    spec = {"name": "Größe \U0001f600", "owner": "chief", "stages": {"01": {"command": "echo"}}}
    answer = chief_http.post("/dm/workflows/addWorkflow", params={"workflow": encoded_json(spec)})
    assert answer.content.isascii()
    assert json.loads(answer.content)["name"] == spec["name"]
