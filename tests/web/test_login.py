"""Logging in and out with a browser."""

import re
from pathlib import Path

import httpx
import pytest

import apsdm_bluesky.web
from tests.people import PASSWORD, added, browser, logged_in

from .pages import Forms, at_the_pages, enter


@pytest.fixture
def ann(tiled_server):
    """A browser in which Ann is logged in."""
    with at_the_pages(tiled_server, "ann") as http:
        yield http


def test_login_sets_a_strict_cookie_that_scripts_cannot_read(tiled_server):
    with browser(tiled_server) as http:
        answer = enter(http, added(tiled_server, "ann"))
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/"
    (cookie,) = [one for one in answer.headers.get_list("Set-Cookie") if one.startswith("tiled_api_key=")]
    flags = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "max-age=43200", "path=/"} <= flags
    assert "secure" not in flags


def test_behind_https_the_cookie_is_for_https_only(tiled_server):
    added(tiled_server, "ann")
    with browser(tiled_server, **{"X-Forwarded-Proto": "https"}) as http:
        answer = enter(http, "ann")
    (cookie,) = [one for one in answer.headers.get_list("Set-Cookie") if one.startswith("tiled_api_key=")]
    assert "; secure" in cookie.lower()


def test_who_is_logged_in_sees_their_name_and_reads_the_catalogue(ann):
    page = ann.get("/")
    assert page.status_code == 200
    assert "Welcome, ann" in page.text
    assert "(staff)" not in page.text
    assert ann.get("/api/v1/metadata/").status_code == 200
    assert "You are logged in as ann" in ann.get("/login").text


def test_staff_is_told_as_staff(tiled_server):
    with browser(tiled_server) as http:
        enter(http, added(tiled_server, "chief"))
        assert "chief (staff)" in http.get("/").text


def test_a_browsers_login_reads_and_does_nothing_else(ann):
    csrf = {"x-csrf": ann.cookies["tiled_csrf"]}
    assert ann.post("/api/v1/metadata/", json={}, headers=csrf).status_code == 401
    key = {"scopes": ["inherit"], "expires_in": 60}
    assert ann.post("/api/v1/auth/apikey", json=key, headers=csrf).status_code == 401


def test_logout_revokes(ann):
    secret = ann.cookies["tiled_api_key"]
    (action,) = Forms(ann.get("/").text).actions
    answer = ann.post(action)
    assert answer.status_code == 303
    assert "tiled_api_key" not in ann.cookies
    ann.cookies.set("tiled_api_key", secret)
    assert ann.get("/api/v1/metadata/").status_code == 401
    assert ann.get("/").status_code == 303


def test_logout_leaves_the_beamlines_own_key(tiled_server):
    with browser(tiled_server) as http:
        http.get("/login")
        http.cookies.set("tiled_api_key", tiled_server.api_key)
        (action,) = Forms(http.get("/").text).actions
        assert http.post(action).status_code == 303
    with tiled_server.http() as http:
        assert http.get("/api/v1/metadata/").status_code == 200
        assert "beamline (staff)" in http.get("/").text


def test_a_token_tells_who_it_is_too(tiled_server):
    with logged_in(tiled_server, "ann") as http:
        assert "Welcome, ann" in http.get("/").text


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}, {"Authorization": "Apikey 00"}])
def test_others_are_sent_to_the_login(tiled_server, headers):
    with browser(tiled_server, **headers) as http:
        answer = http.get("/")
        assert answer.status_code == 303
        assert answer.headers["Location"] == "/login?next=%2F"


def test_a_key_in_a_link_logs_nobody_in(tiled_server):
    with browser(tiled_server) as http:
        assert http.get("/", params={"api_key": tiled_server.api_key}).status_code == 303
        assert "tiled_api_key" not in http.cookies


@pytest.mark.parametrize(("name", "password"), [("ann", "wrong"), ("nobody-known", PASSWORD), ("", "")])
def test_a_wrong_login_is_told_and_sets_nothing(tiled_server, name, password):
    added(tiled_server, "ann")
    with browser(tiled_server) as http:
        answer = enter(http, name, password)
        assert answer.status_code == 401
        assert "Name or password is wrong." in answer.text
        assert "tiled_api_key" not in http.cookies


def test_guessing_ends_here_too(tiled_server):
    added(tiled_server, "sought")
    with browser(tiled_server) as http:
        for _ in range(5):
            assert enter(http, "sought", "wrong").status_code == 401
        answer = enter(http, "sought")
        assert answer.status_code == 429
        assert "Too many wrong passwords" in answer.text
        assert answer.headers["Retry-After"]


@pytest.mark.parametrize("token", ["", "?csrf=", "?csrf=forged"])
@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_a_form_of_another_site_is_refused(tiled_server, ann, path, token):
    answer = ann.post(f"{path}{token}", data={"name": "ann", "password": PASSWORD})
    assert answer.status_code == 403
    assert ann.get("/").status_code == 200
    with browser(tiled_server) as stranger:  # without any cookie
        assert stranger.post(f"{path}{token}", data={"name": "ann"}).status_code == 403


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https://evil.example", "/a\nb", ""])
def test_the_way_back_stays_on_this_server(tiled_server, target):
    with browser(tiled_server) as http:
        assert enter(http, added(tiled_server, "ann"), next_page=target).headers["Location"] == "/"


def test_the_way_back_is_the_page_that_was_asked_for(tiled_server):
    with browser(tiled_server) as http:
        assert enter(http, added(tiled_server, "ann"), next_page="/ui/").headers["Location"] == "/ui/"


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_what_is_sent_is_never_a_part_of_a_page(tiled_server, text):
    with browser(tiled_server) as http:
        http.cookies.set("tiled_csrf", "x" + re.sub(r"[^\w<>()=]", "", text))
        for page in (
            http.get("/login", params={"next": f"/{text}"}),
            http.get("/login/finish", params={"access_token": text, "state": text}),
        ):
            assert text not in page.text
            assert "<script" not in page.text
            assert "<img" not in page.text


def test_every_page_forbids_scripts_that_are_not_files(tiled_server, ann):
    for page in (ann.get("/"), ann.get("/login")):
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert page.headers["Cache-Control"] == "no-store"
        assert "style=" not in page.text
    style = ann.get("/apsdm/static/apsdm.css")
    assert style.status_code == 200
    assert style.headers["Content-Type"].startswith("text/css")
    assert ann.get("/apsdm/static/../__init__.py").status_code == 404
    assert ann.get("/apsdm/static/%2e%2e/__init__.py").status_code == 404


def test_a_token_of_elsewhere_finishes_no_login(tiled_server, ann):
    """Whoever has a token could otherwise log others in as themselves, by a link."""
    token = ann.cookies["tiled_csrf"]
    with logged_in(tiled_server, "ann") as http:
        access = http.headers["Authorization"].removeprefix("Bearer ")
    for state, expected in (("", 401), ("x", 401), (token, 200)):
        answer = ann.get("/login/finish", params={"access_token": access, "state": state})
        assert answer.status_code == expected


def test_no_file_of_the_package_has_a_script_in_a_page():
    folder = Path(apsdm_bluesky.web.__file__).parent / "templates"
    pages = [path.read_text() for path in folder.glob("*.html")]
    assert len(pages) > 2
    assert not any(re.search(r"<script(?! src=)|\son\w+=|style=|\|\s*safe", page) for page in pages)


def test_the_login_page_is_served_to_anybody(tiled_server):
    assert httpx.get(f"{tiled_server.uri}/login", trust_env=False).status_code == 200
