"""Whatever is sent: an answer in the protocol's shape, never a defect, and nothing without a login."""

import asyncio
import json
import re
import sqlite3
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from apsdm_bluesky.web._forms import form_of
from apsdm_bluesky.web.dm import _daqs, _experiments, _facility, _login, _processing
from apsdm_bluesky.web.dm._service import tell_errors
from tests.docs.pages import pages, table
from tests.people import browser

from .clients import encoded, session, told

ROOMS = (_daqs, _experiments, _facility, _login, _processing)
ROUTES = sorted({route.path for room in ROOMS for route in room.router.routes if isinstance(route, APIRoute)})
ROUTE = re.compile(r"`(GET|POST|PUT) (?P<path>[^?`]+)")
QUERIES = (
    "argsDict",
    "experiment",
    "keyList",
    "limit",
    "queryDict",
    "runName",
    "skip",
    "taskInfo",
    "workflow",
    "year",
)
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
STAGES = st.dictionaries(
    st.text(max_size=4),
    st.fixed_dictionaries(
        {},
        optional={
            "command": st.text() | JSON,
            "outputVariableRegexList": st.lists(st.text(), max_size=2) | JSON,
            "repeatPeriod": JSON,
            "maxRepeats": JSON,
            "repeatUntil": JSON,
        },
    )
    | JSON,
    max_size=3,
)
KNOWN = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=8) | JSON,
        "owner": st.sampled_from(["ann", "chief"]) | JSON,
        "stages": STAGES,
        "status": JSON,
        "filePathPattern": JSON,
        "maxRunTimeInHours": JSON,
        "processHiddenFiles": JSON,
        "workflowArgs": JSON,
        "destDirectory": JSON,
        "startDate": JSON,
    },
)
# Half of a surrogate pair can be sent as an escape; a browser can send no such character.
SPELLED = st.sampled_from(["gel-2026-3", "ann", "chief", "/etc", "\ud800", "900501", "1", "checksum"])


def sendable(text):
    return text.encode("utf-8", "replace").decode()


ARGUMENTS = st.one_of(
    st.one_of(JSON, KNOWN).map(lambda value: encoded(json.dumps(value))),
    st.text().map(sendable),
    st.text().map(lambda text: encoded(sendable(text))),
    SPELLED.map(sendable),
    SPELLED.map(lambda text: encoded(sendable(text))),
    st.binary().map(str),
    st.integers().map(str),
)
QUERY = st.dictionaries(st.sampled_from(QUERIES), ARGUMENTS, max_size=4)


@st.composite
def requests(draw, routes=tuple(ROUTES)):
    """Method and address of a request to one of the routes, its parameters filled with anything."""
    parts = draw(st.sampled_from(routes)).split("/")
    filled = [quote(draw(ARGUMENTS), safe="'=") if part.startswith("{") else part for part in parts]
    query = "&".join(f"{name}={quote(value, safe=chr(39))}" for name, value in draw(QUERY).items())
    return draw(st.sampled_from(METHODS)), f"/dm{'/'.join(filled)}?{query}"


def sent(http, request):
    method, address = request
    answer = http.request(method, address)
    assert answer.status_code not in (500, 502, 504), (request, answer.text)
    assert b"Traceback" not in answer.content
    if method != "HEAD":
        body = answer.json()
        if answer.status_code >= 400:
            assert set(body) == {"errorCode", "errorMessage"}, request
            assert body["errorCode"] == answer.status_code
            assert isinstance(body["errorMessage"], str)
    return answer


@pytest.fixture(scope="module")
def people(tiled_server, gel):
    """Sessions of their own: a request of these tests may end one, or add what others do not expect."""
    with session(tiled_server, "fay") as member, session(tiled_server, "chief") as staff:
        yield {"member": member, "staff": staff}


def patient(examples):
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, suppress_health_check=quiet)


@patient(300)
@given(request=requests(routes=[path for path in ROUTES if path != "/logout"]))
@pytest.mark.parametrize("who", ["member", "staff"])
def test_no_request_finds_a_defect(people, who, request):
    sent(people[who], request)


@patient(150)
@given(spec=KNOWN, call=st.sampled_from([("POST", "addWorkflow"), ("PUT", "updateWorkflow")]))
def test_no_workflow_finds_a_defect(people, spec, call):
    method, name = call
    sent(people["member"], (method, f"/dm/workflows/{name}?workflow={encoded(json.dumps(spec))}"))


@patient(150)
@given(info=KNOWN, arguments=JSON)
def test_no_daq_or_job_finds_a_defect(people, tmp_path, jobs, info, arguments):
    daq = f"/dm/experimentsByName/{encoded('gel-2026-3')}/startDaq/{encoded(str(tmp_path))}"
    sent(people["staff"], ("POST", f"{daq}?taskInfo={encoded(json.dumps(info))}"))
    job = f"/dm/processingJobsByWorkflow/staff/{encoded('checksum')}/startProcessingJob"
    given = {"path": arguments, "count": info.get("status", 1)}
    sent(people["staff"], ("POST", f"{job}?argsDict={encoded(json.dumps(given))}"))


@pytest.fixture(scope="module")
def stranger(tiled_server):
    with browser(tiled_server) as http:
        yield http


@patient(100)
@given(request=requests(routes=[path for path in ROUTES if path != "/login"]))
def test_no_route_is_open_without_a_login(stranger, request):
    assert sent(stranger, request).status_code == 401


@patient(60)
@given(cookie=st.lists(st.integers(32, 255).filter(lambda code: code != 127), max_size=200).map(bytes))
def test_no_cookie_opens_anything_but_a_login(stranger, cookie):
    headers = {"Cookie": b"dm_session=" + cookie + b";"}
    assert stranger.get("/dm/experiments", headers=headers).status_code in (400, 401)


@patient(60)
@given(fields=st.binary(max_size=300))
def test_no_login_form_finds_a_defect(tiled_server, fields):
    with browser(tiled_server) as http:
        answer = http.post("/dm/login", content=fields)
    assert answer.status_code in (400, 401)
    assert answer.json()["errorCode"] == answer.status_code


def test_a_defect_is_told_without_its_traceback():
    app = FastAPI()
    tell_errors(app)

    @app.get("/broken")
    def broken():
        raise RuntimeError("secret")

    async def ask():
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await http.get("/broken")

    assert "secret" not in told(asyncio.run(ask()), 500)


def test_a_database_that_does_not_answer_is_told():
    """Of accounts, that is: logging in and out write there."""
    app = FastAPI()
    tell_errors(app)

    @app.post("/login")
    async def enter():
        raise OperationalError("secret", None, sqlite3.OperationalError("database is locked"))

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as http:
            return await http.post("/login")

    assert "secret" not in told(asyncio.run(ask()), 503)


def test_a_form_that_never_comes_whole_is_not_waited_for():
    coming = iter([{"type": "http.request", "body": b"username=", "more_body": True}])

    async def receive():
        for message in coming:
            return message
        return await asyncio.Event().wait()

    request = Request({"type": "http", "method": "POST", "path": "/dm/login", "headers": []}, receive)
    with pytest.raises(HTTPException, match="was not there") as refused:
        asyncio.run(form_of(request, 100, patience_s=0.01))
    assert refused.value.status_code == 408
    assert refused.value.headers == {"Connection": "close"}


def test_every_route_is_in_the_reference():
    rows = table(pages()["docs/reference/dm-protocol.md"])
    shown = {match["path"] for row in rows if (match := ROUTE.match(row[0]))}
    alike = {re.sub(r"\{\w+\*?\}", "{}", path) for path in shown}
    served = {re.sub(r"\{\w+\}", "{}", path) for path in ROUTES}
    shorter = {"/experimentsByStation", "/experimentsByName/{}"}
    shorter |= {"/esaf/stationEsafs/{}", "/bss/stationProposals/{}"}
    assert served - shorter == alike
