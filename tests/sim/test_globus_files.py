"""Operations on files, hostile paths, and access rules."""

import pytest

from .globus_client import refused


def test_stat_and_ls(globus, copies):
    tape = globus.collections["tape"]
    folder = copies.path("/listed")
    (folder / "below").mkdir(parents=True)
    (folder / "b.tar").write_bytes(b"123")
    (folder / ".hidden").write_bytes(b"")
    (folder / "link").symlink_to("b.tar")
    found = copies.client.operation_stat(tape, "/listed/b.tar")
    assert (found["name"], found["type"], found["size"]) == ("b.tar", "file", 3)
    assert copies.client.operation_stat(tape, "/~/listed")["type"] == "dir"
    listing = copies.client.operation_ls(tape, "/listed")
    assert [(entry["name"], entry["type"]) for entry in listing] == [
        (".hidden", "file"),
        ("b.tar", "file"),
        ("below", "dir"),
        ("link", "file"),
    ]
    assert listing["absolute_path"] == "/listed/"
    visible = copies.client.operation_ls(tape, "/listed", show_hidden=False, filter={"type": "file"}, limit=1)
    assert [entry["name"] for entry in visible] == ["b.tar"]
    assert [e["name"] for e in copies.client.operation_ls(tape, "/listed", filter="name:~*.tar")] == ["b.tar"]


def test_what_is_not_there(globus, copies):
    tape = globus.collections["tape"]
    path, _ = copies.file(collection="tape")
    error = refused(copies.client.operation_stat, tape, "/nothing")
    assert (error.http_status, error.code) == (404, "NotFound")
    error = refused(copies.client.operation_ls, tape, "/nothing")
    assert (error.http_status, error.code) == (404, "ClientError.NotFound")
    error = refused(copies.client.operation_ls, tape, path)
    assert (error.http_status, error.code) == (502, "ExternalError.DirListingFailed.NotDirectory")
    error = refused(copies.client.operation_ls, "5ecf6444-affc-11e9-98d4-0a63aa6b37da", "/")
    assert (error.http_status, error.code) == (404, "EndpointNotFound")
    error = refused(copies.client.get, "/v0.10/no/such/thing")
    assert (error.http_status, error.code) == (404, "ClientError.NotFound")


def test_mkdir_and_rename(globus, copies):
    tape = globus.collections["tape"]
    assert copies.client.operation_mkdir(tape, "/made")["code"] == "DirectoryCreated"
    error = refused(copies.client.operation_mkdir, tape, "/made")
    assert (error.http_status, error.code) == (502, "ExternalError.MkdirFailed.Exists")
    assert refused(copies.client.operation_mkdir, tape, "/no/parent").code == "ExternalError.MkdirFailed"
    path, content = copies.file(collection="tape")
    assert copies.client.operation_rename(tape, path, "/made/moved")["code"] == "FileRenamed"
    assert copies.path("/made/moved").read_bytes() == content
    other, _ = copies.file(collection="tape")
    error = refused(copies.client.operation_rename, tape, other, "/made/moved")
    assert error.code == "ExternalError.RenameFailed.Exists"
    assert copies.path("/made/moved").read_bytes() == content
    assert refused(copies.client.operation_rename, tape, "/nothing", "/made/x").http_status == 404


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/../secret", 403, "EndpointPermissionDenied"),
        ("/a/../../secret", 403, "EndpointPermissionDenied"),
        ("/~/../secret", 403, "EndpointPermissionDenied"),
        ("/outside/secret", 403, "EndpointPermissionDenied"),
        ("relative", 400, "ClientError.BadRequest"),
        ("", 400, "ClientError.BadRequest"),
        ("/a\r\nb", 400, "InvalidPath"),
        ("/a\0b", 400, "InvalidPath"),
        ("/" + "a" * 256, 400, "InvalidPath"),
        ("/a" * 2049, 400, "InvalidPath"),
        ("/circle/x", 403, "EndpointPermissionDenied"),
    ],
)
def test_hostile_paths(globus, copies, tmp_path, path, status, code):
    (tmp_path / "secret").write_bytes(b"secret")
    for name in ("local", "tape"):
        link = copies.path("/outside", name)
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path)
        circle = copies.path("/circle", name)
        circle.unlink(missing_ok=True)
        circle.symlink_to("circle")
    tape = globus.collections["tape"]
    file, _ = copies.file()
    client = copies.client
    tries = [
        (client.operation_stat, tape, path),
        (client.operation_ls, tape, path),
        (client.operation_mkdir, tape, path),
        (client.operation_rename, tape, file, path),
        (copies.submit, file, path),
        (copies.submit, path, "/from-outside"),
    ]
    for call, *arguments in tries:
        error = refused(call, *arguments)
        assert (error.http_status, error.code) == (status, code), call
        assert error.request_id
    assert (tmp_path / "secret").read_bytes() == b"secret"
    assert len(list(tmp_path.iterdir())) == 1


def test_path_that_turns_hostile_after_the_submission(globus, copies, tmp_path):
    globus.configure(active_limit=1, hold_at_bytes=0)
    first, _ = copies.file()
    waiting = copies.submit(first, "/first")
    task_id = copies.submit(first, "/turned/x")
    copies.path("/turned").symlink_to(tmp_path)
    globus.configure(hold_at_bytes=None)
    copies.wait(waiting, status="SUCCEEDED")
    assert copies.wait(task_id, nice_status="PERMISSION_DENIED")["status"] == "ACTIVE"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"DATA": []},
        {"DATA": "x"},
        {"DATA": [{"DATA_TYPE": "delete_item", "path": "/"}]},
        {"sync_level": 7},
        {"delete_destination_extra": True},
        {"DATA": [{"DATA_TYPE": "transfer_item", "source_path": 1, "destination_path": "/a"}]},
        {"verify_checksum": "yes"},
        {"deadline": "soon"},
        {"label": " x"},
        {"label": "a\nb"},
        {"submission_id": "00000000-0000-0000-0000-000000000000"},
    ],
)
def test_malformed_submissions(globus, copies, change):
    before = len(globus.tasks())
    error = refused(copies.client.submit_transfer, copies.data("/a", "/b") | change)
    assert error.http_status == 400
    assert error.code.startswith("ClientError.BadRequest") or error.code == "InvalidPath"
    assert len(globus.tasks()) == before


def test_malformed_items(copies):
    unknown = {"checksum_algorithm": "CRC32"}
    assert refused(copies.submit, "/a", "/b", item=unknown).http_status == 400
    assert refused(copies.submit, "/a", "/b", item={"external_checksum": 5}).http_status == 400
    folder = {"recursive": True, "external_checksum": "0" * 32}
    assert refused(copies.submit, "/a", "/b", item=folder).http_status == 400
    mkdir = f"/v0.10/operation/endpoint/{copies.globus.collections['tape']}/mkdir"
    surrogate = refused(copies.client.post, mkdir, data='{"path": "/\\ud800"}', encoding="text")
    assert (surrogate.http_status, surrogate.code) == (400, "InvalidPath")
    error = refused(copies.client.post, "/v0.10/transfer", data="{", encoding="text")
    assert (error.http_status, error.code) == (400, "BadRequest")


def test_endpoint_document(globus, copies):
    for name, endpoint_id in globus.collections.items():
        found = copies.client.get_endpoint(endpoint_id)
        assert (found["id"], found["display_name"]) == (endpoint_id, name)
        assert found["entity_type"] == "GCSv5_mapped_collection"


def test_access_rules(globus, copies):
    tape, client = globus.collections["tape"], copies.client
    rule = {"DATA_TYPE": "access", "principal_type": "identity", "principal": globus.client_id}
    rule |= {"path": "/shared/", "permissions": "r"}
    made = client.add_endpoint_acl_rule(tape, rule)
    assert (made.http_status, made["code"]) == (201, "Created")
    assert [entry["id"] for entry in client.endpoint_acl_list(tape)] == [made["access_id"]]
    assert client.get_endpoint_acl_rule(tape, made["access_id"])["path"] == "/shared/"
    assert refused(client.add_endpoint_acl_rule, tape, rule).http_status == 409
    for wrong in ({"path": "/x"}, {"path": "/../"}, {"permissions": "w"}, {"principal_type": "cat"}):
        assert refused(client.add_endpoint_acl_rule, tape, rule | wrong).http_status in (400, 403)
    assert client.delete_endpoint_acl_rule(tape, made["access_id"])["code"] == "Deleted"
    assert refused(client.delete_endpoint_acl_rule, tape, made["access_id"]).http_status == 404
    assert list(client.endpoint_acl_list(tape)) == []
