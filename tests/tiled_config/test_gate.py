"""What Tiled would let through, asked as no client of ours would: by the bytes of the request."""

import asyncio
import resource
import socket
from urllib.parse import urlsplit

import pytest

from apsdm_bluesky.tiled_config import BROWSER_LOGIN, DM_LOGIN, LOGIN_COOKIE
from apsdm_bluesky.tiled_config import _gate
from apsdm_bluesky.tiled_config._gate import _read
from apsdm_bluesky.tiled_config._serve import _open_as_many_as_allowed
from tests.people import added, browser, logged_in
from tests.web.pages import enter


def sent(server, request: bytes, *, wait: float = 10.0) -> bytes:
    """The whole answer; a client library would make the address plain before."""
    address = urlsplit(server.uri)
    with socket.create_connection((address.hostname, address.port), timeout=wait) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


def got(server, path: str) -> bytes:
    return sent(server, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())


@pytest.mark.parametrize("prefix", ["/ui/", "/ui/../../../../../../../..", "/ui/%2e%2e/%2e%2e", "/ui/a/../.."])
def test_the_user_interface_serves_no_other_file(tiled_server, prefix):
    key = tiled_server.config.folders.catalog / "api_key"
    answers = [got(tiled_server, f"{prefix}{path}") for path in (key, "/etc/passwd")]
    assert [answer.split(b" ")[1] for answer in answers] == [b"404", b"404"]
    assert not any(tiled_server.api_key.encode() in answer or b"root:" in answer for answer in answers)


def test_the_user_interface_itself_is_served(tiled_server):
    with browser(tiled_server) as http:
        assert "<html" in http.get("/ui/").text.lower()
        assert "<html" in http.get("/ui/browse/raw").text.lower()


def test_a_key_in_the_address_logs_no_browser_in(tiled_server):
    """It opens what it opens, once; a link cannot make somebody work in another name."""
    with browser(tiled_server) as http:
        answer = http.get("/api/v1/metadata/", params={"api_key": tiled_server.api_key})
        assert answer.status_code == 200
        http.get("/ui/", params={"api_key": tiled_server.api_key})
        assert LOGIN_COOKIE not in http.cookies
        assert http.get("/api/v1/metadata/").status_code == 401


def test_what_nobody_sends_is_refused_before_it_is_read(tiled_server):
    head = b"POST /api/v1/register/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\nConnection: close\r\n\r\n"
    assert sent(tiled_server, head).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    ("messages", "body"),
    [
        ([{"body": b"ab", "more_body": True}, {"body": b"cd"}], b"abcd"),
        ([{"body": b"abc", "more_body": True}, {"body": b"de", "more_body": True}], None),
        ([{"body": b"ab", "more_body": True}, {"type": "http.disconnect"}], None),
    ],
)
def test_a_body_is_read_whole_or_not_at_all(messages, body):
    coming = iter({"type": "http.request"} | message for message in messages)

    async def receive():
        return next(coming)

    assert asyncio.run(_read(receive, 4)) == body


@pytest.mark.parametrize("path", ["/login", "/logout", "/api/v1/auth/provider/password_file/token"])
def test_a_login_that_never_comes_whole_is_not_waited_for(monkeypatch, path):
    monkeypatch.setattr(_gate, "_LOGIN_PATIENCE_S", 0.01)
    coming = iter([{"type": "http.request", "body": b"name=", "more_body": True}])
    answer = []

    async def receive():
        for message in coming:
            return message
        return await asyncio.Event().wait()

    async def send(message):
        answer.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": []}
    assert asyncio.run(_gate._checked(scope, path, receive, send)) is None
    assert answer[0]["status"] == 408
    assert (b"connection", b"close") in answer[0]["headers"]


def test_the_server_may_open_as_many_files_as_it_is_allowed():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[1] - 1, before[1]))
        _open_as_many_as_allowed()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


WEEK_S = 7 * 24 * 3600


@pytest.mark.parametrize("kind", [BROWSER_LOGIN, DM_LOGIN], ids=lambda kind: kind.cookie)
@pytest.mark.parametrize(
    ("scopes", "expires_in"), [(["read:metadata"], 60), (None, None), (None, WEEK_S)], ids=str
)
def test_the_note_of_a_login_makes_no_key_one(tiled_server, kind, scopes, expires_in):
    """Whoever makes a key chooses its note."""
    wish = {"scopes": scopes or [*kind.scopes], "expires_in": expires_in, "note": kind.note}
    with logged_in(tiled_server, "kim") as http:
        made = http.post("/api/v1/auth/apikey", json=wish)
    secret = made.json()["secret"]
    for headers in ({"Cookie": f"{kind.cookie}={secret}"}, {"Authorization": f"Apikey {secret}"}):
        with browser(tiled_server, **headers) as http:
            assert http.get("/jobs").status_code == 303
            assert http.get("/dm/experiments").status_code == 401


def test_a_login_opens_pages_from_its_cookie_only(tiled_server):
    with browser(tiled_server) as http:
        added(tiled_server, "kim")
        assert enter(http, "kim").status_code == 303
        assert http.get("/jobs").status_code == 200
        secret = http.cookies[LOGIN_COOKIE]
    with browser(tiled_server, Authorization=f"Apikey {secret}") as http:
        assert http.get("/jobs").status_code == 303


def test_a_key_that_only_reads_opens_no_page(tiled_server):
    with logged_in(tiled_server, "kim") as http:
        wish = {"scopes": ["read:metadata"], "expires_in": None}
        secret = http.post("/api/v1/auth/apikey", json=wish).json()["secret"]
        whole = http.post("/api/v1/auth/apikey", json={"scopes": ["inherit"], "expires_in": 60}).json()["secret"]
    with browser(tiled_server, Authorization=f"Apikey {secret}") as http:
        assert http.get("/api/v1/metadata/").status_code == 200
        assert http.get("/jobs").status_code == 303
    with browser(tiled_server, Authorization=f"Apikey {whole}") as http:
        assert http.get("/jobs").status_code == 200
