"""Sessions of DM's clients: how they begin and end, and what is asked of a request."""

import hashlib
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import httpx
import pytest

from tests.people import PASSWORD, added, browser

from .clients import dmax, session, told

SOME = "/dm/workflowsByOwner/ann"


def accounts(server):
    return closing(sqlite3.connect(server.config.folders.catalog / "accounts.db", timeout=30))


def let_expire(server, secret):
    """As twelve hours would."""
    digest = hashlib.sha256(bytes.fromhex(secret)).digest()
    with accounts(server) as database, database:
        change = "UPDATE api_keys SET expiration_time = ? WHERE hashed_secret = ?"
        changed = database.execute(change, ("2020-01-01 00:00:00.000000", digest)).rowcount
    assert changed == 1


def is_kept(server, secret):
    digest = hashlib.sha256(bytes.fromhex(secret)).digest()
    with accounts(server) as database:
        found = database.execute("SELECT 1 FROM api_keys WHERE hashed_secret = ?", (digest,)).fetchone()
    return found is not None


def cookie_of(answer):
    (cookie,) = answer.headers.get_list("set-cookie")
    return cookie


def test_a_login_brings_one_cookie_and_no_other(tiled_server):
    added(tiled_server, "ann")
    with browser(tiled_server) as http:
        answer = http.post("/dm/login", data={"username": "ann", "password": PASSWORD})
    assert answer.status_code == 200
    name, *flags = (part.strip().lower() for part in cookie_of(answer).split(";"))
    assert name.startswith("dm_session=")
    (expires,) = (flag.removeprefix("expires=") for flag in flags if flag.startswith("expires="))
    left = datetime.strptime(expires, "%a, %d %b %Y %H:%M:%S gmt").replace(tzinfo=UTC) - datetime.now(UTC)
    assert 11.9 * 3600 < left.total_seconds() <= 12 * 3600
    assert set(flags) - {f"expires={expires}"} == {
        "httponly",
        "samesite=strict",
        "path=/dm",
        "max-age=43200",
    }


def test_behind_https_the_cookie_is_for_https_only(tiled_server):
    added(tiled_server, "ann")
    with browser(tiled_server, **{"X-Forwarded-Proto": "https"}) as http:
        answer = http.post("/dm/login", data={"username": "ann", "password": PASSWORD})
    assert "; secure" in cookie_of(answer).lower()


def test_no_other_answer_sets_a_cookie(ann_http):
    assert "set-cookie" not in ann_http.get(SOME).headers


def test_the_whole_header_may_come_back_as_the_clients_cookie(tiled_server):
    added(tiled_server, "ann")
    with browser(tiled_server) as http:
        whole = cookie_of(http.post("/dm/login", data={"username": "ann", "password": PASSWORD}))
        http.cookies.clear()
        assert http.get(SOME, headers={"Cookie": whole}).status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"username": "ann", "password": "wrong"},
        {"username": "nobody-here", "password": PASSWORD},
        {"username": "ann"},
        {"password": PASSWORD},
        {},
        {"username": "a\0nn", "password": PASSWORD},
        {"username": "beamline", "password": PASSWORD},
    ],
)
def test_a_wrong_password_is_no_session(tiled_server, fields):
    added(tiled_server, "ann")
    with browser(tiled_server) as http:
        answer = http.post("/dm/login", data=fields)
        assert "wrong" in told(answer, 401)
        assert "set-cookie" not in answer.headers
        told(http.get(SOME), 401)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"username=%ff&password=x", b"a=1&" * 3000, b"\x00"])
def test_a_login_that_is_no_form_is_told(tiled_server, body):
    with browser(tiled_server) as http:
        answer = http.post("/dm/login", content=body)
    told(answer, 401 if body == b"\x00" else 400)


def test_a_login_of_any_size_is_not_read(tiled_server):
    with browser(tiled_server) as http:
        told(http.post("/dm/login", content=b"username=" + b"a" * 70_000), 413)


def test_too_many_wrong_passwords_wait(tiled_server):
    added(tiled_server, "ann")
    wrong = {"username": "ann", "password": "wrong"}
    with browser(tiled_server) as http:
        for _ in range(5):
            told(http.post("/dm/login", data=wrong), 401)
        answer = http.post("/dm/login", data={"username": "ann", "password": PASSWORD})
        assert "Too many" in told(answer, 429)
        assert 0 < int(answer.headers["Retry-After"]) <= 300


def test_logging_out_ends_the_session(tiled_server):
    with session(tiled_server, "ann") as http:
        secret = http.cookies["dm_session"]
        assert http.post("/dm/logout").status_code == 200
        http.cookies.set("dm_session", secret)
        told(http.get(SOME), 401)


def test_a_session_that_has_expired_opens_nothing(tiled_server):
    with session(tiled_server, "ann") as http:
        let_expire(tiled_server, http.cookies["dm_session"])
        answer = http.get(SOME)
        told(answer, 401)
        assert answer.headers["Dm-Status-Code"] == "12"
        http.cookies.clear()
        assert http.get(SOME).headers["Dm-Status-Code"] == "6"


def test_what_went_well_has_the_status_code_0(ann_http):
    assert ann_http.get(SOME).headers["Dm-Status-Code"] == "0"


def test_the_status_message_is_one_line_of_ascii(ann_http):
    answer = ann_http.get("/dm/processingJobsByOwner/x%0d%0aSet-Cookie:%20a=b%C3%BC")
    assert "not yours" in told(answer, 404)
    assert answer.headers["Dm-Status-Message"].isascii()
    assert "set-cookie" not in answer.headers


def test_the_client_logs_in_again_by_itself(tiled_server, kind):
    with dmax(tiled_server, "ann", kind) as client:
        client.workflows()
        cookies = client.contexts[2].client.cookies
        first = cookies["dm_session"]
        client.workflows()
        assert cookies["dm_session"] == first
        let_expire(tiled_server, first)
        client.workflows()
        assert cookies["dm_session"] != first


@pytest.mark.parametrize("way", ["dm", "browser"])
def test_a_new_login_removes_those_that_have_expired(tiled_server, way):
    added(tiled_server, "ann")
    with browser(tiled_server) as old, browser(tiled_server) as new:
        enter = {"dm": dm_login, "browser": browser_login}[way]
        secret = enter(old)
        let_expire(tiled_server, secret)
        assert is_kept(tiled_server, enter(new))
    assert not is_kept(tiled_server, secret)


def dm_login(http):
    assert http.post("/dm/login", data={"username": "ann", "password": PASSWORD}).status_code == 200
    return http.cookies["dm_session"]


def browser_login(http):
    from tests.web.pages import enter

    assert enter(http, "ann").status_code == 303
    return http.cookies["tiled_api_key"]


def test_the_client_of_somebody_with_a_wrong_password_is_told(tiled_server, kind):
    with (
        dmax(tiled_server, "eve", kind, password="wrong") as client,
        pytest.raises(httpx.HTTPStatusError, match="401"),
    ):
        client.workflows()


def test_a_session_opens_neither_pages_nor_the_catalogue(tiled_server):
    with session(tiled_server, "ann") as http:
        secret = http.cookies["dm_session"]
        for headers in ({"Cookie": f"tiled_api_key={secret}"}, {"Authorization": f"Apikey {secret}"}):
            with browser(tiled_server, **headers) as other:
                assert other.get("/jobs").status_code == 303
                assert other.get("/api/v1/metadata/").status_code in (401, 403)


def test_a_browsers_login_is_no_session(tiled_server):
    with browser(tiled_server) as http:
        added(tiled_server, "ann")
        secret = browser_login(http)
        told(http.get(SOME), 401)
        told(http.get(SOME, headers={"Cookie": f"dm_session={secret}"}), 401)


def test_the_beamlines_own_key_opens_it(tiled_server):
    with tiled_server.http() as http:
        assert http.get(SOME).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://[", "http://127.0.0.1:1"])
def test_a_page_of_another_site_changes_nothing(ann_http, origin):
    answer = ann_http.post("/dm/logout", headers={"Origin": origin})
    assert "another site" in told(answer, 403)
    told(ann_http.post("/dm/login", headers={"Origin": origin}), 403)
    assert ann_http.get(SOME, headers={"Origin": origin}).status_code == 200


def test_a_page_of_this_site_may(tiled_server):
    with session(tiled_server, "ann") as http:
        assert http.post("/dm/logout", headers={"Origin": tiled_server.uri}).status_code == 200


def test_logins_of_dm_end_after_twelve_hours(tiled_server):
    with session(tiled_server, "ann") as http, accounts(tiled_server) as database:
        digest = hashlib.sha256(bytes.fromhex(http.cookies["dm_session"])).digest()
        query = "SELECT expiration_time, scopes FROM api_keys WHERE hashed_secret = ?"
        (expires, scopes) = database.execute(query, (digest,)).fetchone()
    left = datetime.fromisoformat(expires).replace(tzinfo=UTC) - datetime.now(UTC)
    assert 11.9 * 3600 < left.total_seconds() <= 12 * 3600
    assert scopes in ("", "[]")
