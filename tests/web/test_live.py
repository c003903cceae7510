"""What is pushed, apart from what it tells."""

import asyncio
import threading

import httpx
import pytest
from fastapi import FastAPI, Request

from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.web._live import event, pushed


def sent(look, leaving=None):
    """All that one connection gets."""
    app = FastAPI()
    app.state.leaving = leaving or threading.Event()

    @app.get("/")
    def events(request: Request):
        return pushed(request, look)

    return asyncio.run(_get(app)).text


async def _get(app):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as http:
        return await http.get("/")


def test_all_that_is_found_is_sent_until_it_is_over():
    found = iter([("", False), (event("a", "1"), False), (event("a", "2"), True)])
    assert (
        sent(lambda: next(found)) == ":\n\nevent: a\ndata: 1\n\nevent: a\ndata: 2\n\nevent: end\ndata: \n\n"
    )


def test_a_fault_is_told_and_ends_it():
    def look():
        raise StorageError("<disk> is full")

    assert "event: fault\ndata: &lt;disk&gt; is full\n\nevent: end" in sent(look)


def test_a_server_that_goes_ends_what_it_follows():
    """Uvicorn waits for it; the browser asks anew, for nothing says that it is over."""
    leaving = threading.Event()

    def look():
        leaving.set()
        return event("a", "1"), False

    assert sent(look, leaving) == "event: a\ndata: 1\n\n"


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\n\n"])
def test_a_text_cannot_be_an_event(end):
    lines = event("a", f"x{end}event: b{end}data: y").rstrip("\n").split("\n")
    assert lines[0] == "event: a"
    assert all(line.startswith("data: ") for line in lines[1:])
    assert "\r" not in "".join(lines)
