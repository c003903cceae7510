"""Planned faults, policies and tape: every way in which Globus disappoints."""

import hashlib

import globus_sdk
import pytest
from globus_sdk import TransferClient
from globus_sdk.scopes import GCSCollectionScopes

from apsdm_bluesky.errors import ServiceError
from tests.waiting import wait_for

from .globus_client import Copies, client_app, refused, transfer_client


@pytest.mark.parametrize(
    ("status", "code"), [(429, "RateLimitExceeded"), (503, "ServiceUnavailable"), (502, "ExternalError")]
)
def test_planned_status(globus, copies, status, code):
    path, _ = copies.file()
    globus.fault("transfer", status=status, retry_after=30)
    error = refused(copies.submit, path, f"/status-{status}")
    assert (error.http_status, error.code, error.headers["Retry-After"]) == (status, code, "30")
    assert [hit["subject"] for hit in globus.faults_hit("transfer")] == ["/v0.10/transfer"]
    copies.done(path, f"/status-{status}")
    assert len(globus.faults_hit()) == 1


def test_fault_passes_some_calls_and_strikes_so_often(globus, copies):
    globus.fault("submission_id", after=1, times=2, status=500, code="Odd", message="m", body={"more": 1})
    copies.client.get_submission_id()
    for _ in range(2):
        error = refused(copies.client.get_submission_id)
        assert (error.code, error.message, error.raw_json["more"]) == ("Odd", "m", 1)
    copies.client.get_submission_id()
    assert len(globus.faults_hit("submission_id")) == 2


def test_reply_is_lost_after_the_task_was_made(globus, copies):
    path, _ = copies.file()
    data = copies.data(path, "/lost-reply")
    data["submission_id"] = copies.client.get_submission_id()["value"]
    globus.fault("transfer", drop_reply=True)
    with pytest.raises(globus_sdk.NetworkError):
        copies.client.submit_transfer(data)
    assert copies.client.submit_transfer(data)["code"] == "Duplicate"
    made = [task for task in globus.tasks() if task["submission_id"] == data["submission_id"]]
    assert len(made) == len(globus.faults_hit("transfer")) == 1


def test_request_is_lost_before_the_task_was_made(globus, copies):
    path, _ = copies.file()
    before = len(globus.tasks())
    globus.fault("transfer", drop_request=True)
    with pytest.raises(globus_sdk.NetworkError):
        copies.submit(path, "/lost-request")
    assert len(globus.tasks()) == before


def test_sdk_gets_over_a_lost_reply_by_itself(globus):
    copies = Copies(globus, transfer_client(globus, max_retries=2))
    path, _ = copies.file()
    globus.fault("transfer", drop_reply=True)
    task_id = copies.submit(path, "/retried")
    assert [task["task_id"] for task in globus.tasks() if task["items"][0].get("source_path") == path] == [
        task_id
    ]
    copies.wait(task_id, status="SUCCEEDED")


def test_slow_reply_runs_into_the_clients_timeout(globus, copies):
    globus.fault("submission_id", delay_s=1.0)
    with copies.client.transport.tune(http_timeout=0.1), pytest.raises(globus_sdk.GlobusTimeoutError):
        copies.client.get_submission_id()
    assert len(globus.faults_hit("submission_id")) == 1


def test_wrong_plans_are_refused(globus):
    for plan in ({"times": 0}, {"status": 200}, {"unknown": 1}, {"corrupt": True}):
        with pytest.raises(ServiceError, match="fault was refused"):
            globus.fault("transfer", **plan)
    with pytest.raises(ServiceError, match="no call is named"):
        globus.fault("trasnfer", status=503)


@pytest.mark.parametrize("effect", ["corrupt", "truncate", "skip"])
def test_succeeded_although_the_file_is_wrong(globus, copies, effect):
    path, content = copies.file()
    globus.fault("copy", **{effect: True})
    task = copies.done(path, f"/wrong-{effect}", verify_checksum=True)
    target = copies.path(f"/wrong-{effect}")
    assert not target.exists() if effect == "skip" else target.read_bytes() != content
    assert task["files_skipped"] == (effect == "skip")
    assert [hit["subject"] for hit in globus.faults_hit("copy")] == [f"{task['task_id']} {path}"]


def test_star_strikes_any_call_but_no_copy(globus, copies):
    path, _ = copies.file()
    copies.client.get_submission_id()  # with its token
    globus.fault("*", after=2, status=503)
    task_id = copies.submit(path, "/star")
    wait_for(lambda: globus.tasks()[-1]["status"] == "SUCCEEDED")
    assert refused(copies.client.get_task, task_id).http_status == 503
    assert [hit["route"] for hit in globus.faults_hit()] == ["task"]


def test_copy_meets_a_fault_and_goes_on_or_fails(globus, copies):
    path, _ = copies.file()
    globus.fault("copy", code="PERMISSION_DENIED", times=2)
    task = copies.done(path, "/denied")
    assert task["faults"] == 2
    assert copies.codes(task["task_id"]).count("PERMISSION_DENIED") == 2
    globus.fault("copy", code="ENDPOINT_ERROR", fatal=True)
    task = copies.wait(copies.submit(path, "/denied"), status="FAILED")
    assert task["fatal_error"]["code"] == "ENDPOINT_ERROR"


def test_quota(globus, copies):
    path, content = copies.file(200_000)
    used = sum(found.stat().st_size for found in globus.root("tape").rglob("*") if found.is_file())
    globus.quota("tape", used + 100_000)
    task = copies.wait(copies.submit(path, "/quota", fail_on_quota_errors=True), status="FAILED")
    assert task["fatal_error"]["code"] == "QUOTA_EXCEEDED"
    task_id = copies.submit(path, "/quota")
    assert copies.wait(task_id, nice_status="QUOTA_EXCEEDED")["status"] == "ACTIVE"
    globus.quota("tape", None)
    copies.wait(task_id, status="SUCCEEDED")
    assert copies.path("/quota").read_bytes() == content


@pytest.mark.parametrize("status", ["INACTIVE", "ACTIVE"])
def test_pause_and_resume(globus, copies, status):
    path, content = copies.file(200_000)
    globus.configure(hold_at_bytes=100_000)
    task_id = copies.submit(path, f"/paused-{status}")
    wait_for(lambda: copies.task(task_id)["bytes_transferred"] >= 100_000)
    globus.pause("tape", "tape robot is repaired", status=status)
    globus.configure(hold_at_bytes=None)
    task = copies.wait(task_id, is_paused=True)
    assert (task["status"], task["nice_status"]) == (status, "PAUSED_BY_ADMIN")
    info = copies.client.task_pause_info(task_id)
    assert info["destination_pause_message"] == "tape robot is repaired"
    assert [rule["message"] for rule in info["pause_rules"]] == ["tape robot is repaired"]
    assert info["source_pause_message"] is None
    globus.resume("tape")
    assert copies.wait(task_id, status="SUCCEEDED")["is_paused"] is False
    assert copies.path(f"/paused-{status}").read_bytes() == content


def test_credentials_expire(globus, copies):
    path, _ = copies.file()
    globus.expire_credentials("tape")
    task_id = copies.submit(path, "/expired")
    assert copies.wait(task_id, status="INACTIVE")["nice_status"] == "CREDENTIALS_EXPIRED"
    globus.expire_credentials("tape", expired=False)
    copies.wait(task_id, status="SUCCEEDED")


def test_consent_is_required_and_given(globus, copies):
    globus.require_consent("tape")
    tape = globus.collections["tape"]
    path, _ = copies.file()
    for error in (refused(copies.client.operation_ls, tape), refused(copies.submit, path, "/consent")):
        assert (error.http_status, error.code) == (403, "ConsentRequired")
        access = f"*{GCSCollectionScopes(tape).data_access}"
        wanted = [f"urn:globus:auth:scope:transfer.api.globus.org:all[{access}]"]
        assert error.info.consent_required.required_scopes == wanted
    client = TransferClient(app=client_app(globus)).add_app_data_access_scope(tape)
    Copies(globus, client).done(path, "/consent")
    globus.forget_consents()
    assert refused(copies.client.operation_ls, tape).code == "ConsentRequired"


def test_session_is_required(globus, copies):
    globus.require_session("tape", ["anl.gov"])
    error = refused(copies.client.operation_ls, globus.collections["tape"])
    assert error.http_status == 403
    assert error.info.authorization_parameters.session_required_single_domain == ["anl.gov"]
    globus.require_session("tape", None)
    copies.client.operation_ls(globus.collections["tape"])


def test_purged_task_is_gone_but_its_submission_id_stays_used(globus, copies):
    path, _ = copies.file()
    data = copies.data(path, "/purged")
    task_id = copies.client.submit_transfer(data)["task_id"]
    copies.wait(task_id, status="SUCCEEDED")
    globus.purge(task_id)
    for call in (copies.client.get_task, copies.client.task_event_list, copies.client.cancel_task):
        error = refused(call, task_id)
        assert (error.http_status, error.code) == (404, "ClientError.NotFound")
    assert copies.client.submit_transfer(data)["code"] == "Duplicate"


def test_task_ended_by_an_administrator(globus, copies):
    task_id = copies.submit("/not-there", "/failed")
    globus.fail(task_id)
    assert copies.task(task_id)["fatal_error"]["code"] == "CANCELED_BY_ADMIN"


def test_file_on_tape_waits_for_staging(globus, copies):
    globus.configure(migration_s=None, staging_s=None)
    path, content = copies.file()
    copies.done(path, "/staged")
    assert globus.residency("/staged") == "disk"
    copies.done("/staged", "/from-disk", back=True)
    globus.migrate("/staged")
    assert globus.residency("/staged") == "tape"
    assert copies.client.operation_stat(globus.collections["tape"], "/staged")["size"] == len(content)
    task_id = copies.submit("/staged", "/from-tape", back=True)
    wait_for(lambda: copies.task(task_id)["faults"])
    assert copies.task(task_id)["status"] == "ACTIVE"
    assert "staged from tape" in globus.events(task_id)[0]["details"]
    assert not copies.path("/from-tape", "local").exists()
    globus.stage("/staged")
    copies.wait(task_id, status="SUCCEEDED")
    assert copies.path("/from-tape", "local").read_bytes() == content


def test_migration_and_staging_take_their_time(globus, copies):
    globus.configure(migration_s=0.05, staging_s=0.05)
    path, content = copies.file()
    copies.done(path, "/timed")
    wait_for(lambda: globus.residency("/timed") == "tape")
    task = copies.done("/timed", "/timed", back=True)
    assert task["faults"] == 1
    assert copies.path("/timed", "local").read_bytes() == content


@pytest.mark.parametrize("stored", [True, False])
def test_flipped_bit_is_masked_by_the_stored_checksum(globus, copies, stored):
    globus.configure(stored_checksum=stored)
    path, content = copies.file()
    name = f"/flipped-{stored}"
    copies.done(path, name)
    globus.flip_bit(name)
    assert copies.path(name).read_bytes() != content
    again = copies.done(path, name, sync_level="checksum")
    assert again["files_skipped"] == (1 if stored else 0)
    globus.flip_bit(name, offset=0)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    restored = copies.submit(name, f"/back{name}", back=True, item={"external_checksum": md5})
    task = copies.wait(restored, status="FAILED")
    assert task["fatal_error"]["code"] == "VERIFY_CHECKSUM"


def test_renamed_file_keeps_its_stored_checksum(globus, copies):
    path, _ = copies.file()
    copies.done(path, "/renamed.part")
    copies.client.operation_rename(globus.collections["tape"], "/renamed.part", "/renamed")
    globus.flip_bit("/renamed")
    assert copies.done(path, "/renamed", sync_level="checksum")["files_skipped"] == 1
