"""The real SDK talks to the stand-in for Globus: tokens, submissions, and what a task does."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

from globus_sdk import AccessTokenAuthorizer, NullAuthorizer, TransferClient
from globus_sdk.transport import RetryConfig

from tests.waiting import wait_for

from .globus_client import client_app, refused, transfer_client


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_a_file_is_copied(copies):
    path, content = copies.file(200_000)
    task = copies.done(path, "/a/b/copied", label="a label", verify_checksum=True)
    assert copies.path("/a/b/copied").read_bytes() == content
    assert task["label"] == "a label"
    assert (task["files"], task["files_transferred"], task["bytes_transferred"]) == (1, 1, 200_000)
    assert (task["nice_status"], task["fatal_error"], task["faults"]) == (None, None, 0)
    assert copies.codes(task["task_id"]) == ["STARTED", "SUCCEEDED"]
    transfers = list(copies.client.task_successful_transfers(task["task_id"]))
    assert [transfer["destination_path"] for transfer in transfers] == ["/a/b/copied"]


def test_same_submission_id_is_a_duplicate(globus, copies):
    path, _ = copies.file()
    data = copies.data(path, f"/duplicate{path}")
    data["submission_id"] = copies.client.get_submission_id()["value"]
    first, second = (copies.client.submit_transfer(data) for _ in range(2))
    assert (first["code"], second["code"]) == ("Accepted", "Duplicate")
    assert first["task_id"] == second["task_id"]
    copies.wait(first["task_id"], status="SUCCEEDED")
    assert copies.client.submit_transfer(data)["code"] == "Duplicate"
    mine = [task for task in globus.tasks() if task["submission_id"] == data["submission_id"]]
    assert [task["task_id"] for task in mine] == [first["task_id"]]


def test_submissions_at_once_make_one_task(globus, copies):
    path, _ = copies.file()
    data = copies.data(path, "/at-once")
    data["submission_id"] = copies.client.get_submission_id()["value"]
    clients = [transfer_client(globus) for _ in range(8)]
    with ThreadPoolExecutor(len(clients)) as pool:
        answers = list(pool.map(lambda client: client.submit_transfer(data), clients))
    assert sorted(answer["code"] for answer in answers) == ["Accepted"] + ["Duplicate"] * 7
    assert len({answer["task_id"] for answer in answers}) == 1


def test_identical_paths_in_flight_conflict(globus, copies):
    path, _ = copies.file()
    globus.configure(hold_at_bytes=0)
    task_id = copies.submit(path, "/conflict")
    error = refused(copies.submit, path, "/conflict")
    assert (error.http_status, error.code) == (409, "Conflict")
    assert error.message == "A transfer with identical paths has not yet completed"
    assert error.request_id
    globus.configure(hold_at_bytes=None)
    copies.wait(task_id, status="SUCCEEDED")
    copies.done(path, "/conflict")


def test_label_is_at_most_128_characters(copies):
    path, _ = copies.file()
    assert copies.done(path, "/labelled", label="x" * 128)["label"] == "x" * 128
    error = refused(copies.submit, path, "/labelled", label="x" * 129)
    assert (error.http_status, error.code) == (400, "ClientError.BadRequest")
    assert "128" in error.message


def test_missing_file_keeps_the_task_active_until_its_deadline(globus, copies):
    task_id = copies.submit("/not-there", "/missing")
    task = copies.wait(task_id, nice_status="FILE_NOT_FOUND")
    assert (task["status"], task["is_ok"]) == ("ACTIVE", False)
    wait_for(lambda: copies.task(task_id)["faults"] > 1, message="a second fault")
    assert "FILE_NOT_FOUND" in copies.codes(task_id)
    error = next(event for event in copies.client.task_event_list(task_id) if event["is_error"])
    assert "No such file" in error["details"]
    assert copies.client.cancel_task(task_id)["code"] == "Canceled"
    assert copies.task(task_id)["fatal_error"]["code"] == "CANCELED"
    globus.configure(deadline_s=0.3)
    task = copies.wait(copies.submit("/not-there", "/missing"), status="FAILED")
    assert task["fatal_error"]["code"] == "EXPIRED"


def test_missing_file_that_appears_is_copied(copies):
    task_id = copies.submit("/late", "/late")
    copies.wait(task_id, nice_status="FILE_NOT_FOUND")
    copies.path("/late", "local").write_bytes(b"late")
    copies.wait(task_id, status="SUCCEEDED")
    assert copies.path("/late").read_bytes() == b"late"


def test_cancel_leaves_a_partial_file_and_the_next_overwrites_it(globus, copies):
    path, content = copies.file(300_000)
    globus.configure(hold_at_bytes=100_000)
    task_id = copies.submit(path, "/partial")
    wait_for(lambda: copies.task(task_id)["bytes_transferred"] >= 100_000)
    copies.client.cancel_task(task_id)
    partial = copies.path("/partial").read_bytes()
    assert 100_000 <= len(partial) < len(content)
    assert content.startswith(partial)
    assert copies.client.cancel_task(task_id)["code"] == "TaskComplete"
    globus.configure(hold_at_bytes=None)
    task = copies.done(path, "/partial", sync_level="checksum")
    assert task["files_skipped"] == 0
    assert copies.path("/partial").read_bytes() == content


def test_existing_file_is_overwritten_unless_the_sync_level_says_not(copies):
    path, content = copies.file()
    copies.path("/existing").write_bytes(b"something else")
    copies.done(path, "/existing")
    assert copies.path("/existing").read_bytes() == content
    assert copies.done(path, "/existing", sync_level="checksum")["files_skipped"] == 1
    other, _ = copies.file()
    assert copies.done(other, "/existing", sync_level="size")["files_skipped"] == 1
    assert copies.path("/existing").read_bytes() == content
    assert copies.done(other, "/existing", sync_level="checksum")["files_skipped"] == 0


def test_rate_can_be_changed_in_mid_copy(globus, copies):
    path, content = copies.file(300_000)
    globus.configure(rate_bytes_s=1000)
    task_id = copies.submit(path, "/slow")
    wait_for(lambda: copies.path("/slow").exists() and copies.path("/slow").stat().st_size)
    assert copies.task(task_id)["status"] == "ACTIVE"
    globus.configure(rate_bytes_s=None)
    copies.wait(task_id, status="SUCCEEDED")
    assert copies.path("/slow").read_bytes() == content


def test_timestamps_are_kept_when_asked(copies):
    path, _ = copies.file()
    os.utime(copies.path(path, "local"), (1e9, 1e9))
    task = copies.done(path, "/old", preserve_timestamp=True, encrypt_data=True)
    assert copies.path("/old").stat().st_mtime == 1e9
    assert task["encrypt_data"] is True
    os.utime(copies.path(path, "local"), (2e9, 2e9))
    assert copies.done(path, "/old", sync_level="mtime", preserve_timestamp=True)["files_skipped"] == 0
    assert copies.done(path, "/old", sync_level="mtime")["files_skipped"] == 1


def test_external_checksum(copies):
    path, content = copies.file()
    copies.done(path, "/external", item={"external_checksum": md5(content)})
    wrong = copies.submit(path, "/external-wrong", item={"external_checksum": "0" * 32})
    assert copies.wait(wrong, status="FAILED")["fatal_error"]["code"] == "VERIFY_CHECKSUM"


def test_tape_gives_md5_whatever_is_asked(copies):
    path, content = copies.file()
    item = {"external_checksum": hashlib.sha256(content).hexdigest(), "checksum_algorithm": "SHA256"}
    task = copies.wait(copies.submit(path, "/sha256", item=item), status="FAILED")
    assert task["fatal_error"]["code"] == "VERIFY_CHECKSUM"
    assert md5(content) in task["fatal_error"]["description"]


def test_three_tasks_work_and_the_others_queue(globus, copies):
    globus.configure(hold_at_bytes=0)
    paths = [copies.file()[0] for _ in range(5)]
    tasks = [copies.submit(path, f"/queue{path}") for path in paths]
    for task_id in tasks[:3]:
        copies.wait(task_id, nice_status="OK")
    assert [copies.task(task_id)["nice_status"] for task_id in tasks[3:]] == ["Queued", "Queued"]
    copies.client.cancel_task(tasks[0])
    copies.wait(tasks[3], nice_status="OK")
    assert copies.task(tasks[4])["nice_status"] == "Queued"
    globus.configure(hold_at_bytes=None)
    for task_id in tasks[1:]:
        copies.wait(task_id, status="SUCCEEDED")


def test_pending_tasks_are_limited(globus, copies):
    globus.configure(hold_at_bytes=0, pending_limit=1)
    path, _ = copies.file()
    task_id = copies.submit(path, "/pending")
    assert refused(copies.submit, path, "/pending-2").http_status == 409
    copies.client.cancel_task(task_id)


def test_folder_is_copied_with_what_is_in_it(copies):
    folder = copies.path("/folder", "local")
    (folder / "deep").mkdir(parents=True)
    (folder / "a").write_bytes(b"a")
    (folder / "deep" / "b").write_bytes(b"b")
    task = copies.done("/folder", "/folder", item={"recursive": True})
    assert task["files_transferred"] == 2
    assert copies.path("/folder/deep/b").read_bytes() == b"b"


def test_source_errors_may_be_skipped(copies):
    task = copies.done("/not-there", "/skipped", skip_source_errors=True)
    assert (task["files_skipped"], task["subtasks_skipped_errors"]) == (1, 1)
    skipped = list(copies.client.task_skipped_errors(task["task_id"]))
    assert [(entry["error_code"], entry["source_path"]) for entry in skipped] == [
        ("FILE_NOT_FOUND", "/not-there")
    ]


def test_task_list_is_filtered_and_paged(copies):
    path, _ = copies.file()
    ids = [copies.done(path, f"/list-{n}", label=f"listed {n}")["task_id"] for n in range(3)]
    failed = copies.submit("/not-there", "/list", label="listed failed")
    copies.client.cancel_task(failed)
    clauses = {"status": ["SUCCEEDED"], "label": "~listed*"}
    found = copies.client.task_list(filter=clauses, limit=2)
    assert [task["task_id"] for task in found] == ids[:0:-1]
    pages = copies.client.paginated.task_list(filter=clauses, limit=2)
    assert [task["task_id"] for task in pages.items()] == ids[::-1]
    found = copies.client.task_list(filter="label:listed failed")
    assert [task["task_id"] for task in found] == [failed]
    found = copies.client.task_list(filter={"task_id": ids[0]})
    assert [task["task_id"] for task in found] == ids[:1]
    assert refused(copies.client.task_list, filter="colour:red").http_status == 400


def test_delete_is_refused_unless_allowed(globus, copies):
    path, _ = copies.file(collection="tape")
    data = {"DATA_TYPE": "delete", "endpoint": globus.collections["tape"]}
    data["DATA"] = [{"DATA_TYPE": "delete_item", "path": path}]
    assert refused(copies.client.submit_delete, dict(data)).code == "PermissionDenied"
    assert copies.path(path).exists()
    globus.configure(allow_delete=True)
    copies.wait(copies.client.submit_delete(dict(data))["task_id"], status="SUCCEEDED")
    assert not copies.path(path).exists()


def test_no_wrong_and_foreign_token(globus):
    for authorizer in (NullAuthorizer(), AccessTokenAuthorizer("nonsense")):
        client = TransferClient(authorizer=authorizer, retry_config=RetryConfig(max_retries=0))
        error = refused(client.get_submission_id)
        assert (error.http_status, error.code) == (401, "AuthenticationFailed")
    auth = client_app(globus)._login_client
    token = auth.oauth2_client_credentials_tokens("openid")["access_token"]
    client = TransferClient(authorizer=AccessTokenAuthorizer(token))
    assert refused(client.get_submission_id).http_status == 401


def test_revoked_token_is_renewed_by_a_client_app(globus, copies):
    client = transfer_client(globus, max_retries=1)
    for user in (client, copies.client):
        user.get_submission_id()
    globus.revoke_tokens()
    assert refused(copies.client.get_submission_id).http_status == 401  # this one must not retry
    assert client.get_submission_id()["value"]
