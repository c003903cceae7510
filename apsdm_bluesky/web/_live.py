"""What happens is pushed to the browser: server-sent events."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from html import escape

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from apsdm_bluesky.errors import ApsdmError

from ._pages import HEADERS

_PAUSE_S = 0.5
_QUIET_S = 15.0  # after which a line shows that the connection lives
_LIFE_S = 600.0  # then the browser asks anew, and whether it may is looked at again
_LINE_END = re.compile(r"\r\n|\r|\n")

Look = Callable[[], tuple[str, bool]]


def event(name: str, text: str, mark: str = "") -> str:
    """An event as it is sent. `mark`: the browser tells it when it asks anew."""
    lines = "".join(f"data: {line}\n" for line in _LINE_END.split(text))
    return f"event: {name}\n" + (f"id: {mark}\n" if mark else "") + f"{lines}\n"


def pushed(request: Request, look: Look) -> StreamingResponse:
    """Send what `look` finds each time, until it says that this is over.

    Parameters
    ----------
    look
        Is called in threads, one after the other. Its errors are sent as the event `fault`.
    """
    return StreamingResponse(_events(request, look), media_type="text/event-stream", headers=HEADERS)


async def _events(request: Request, look: Look) -> AsyncIterator[str]:
    began = time.monotonic()
    said, over = float("-inf"), False  # the first line comes at once: with it the answer begins
    while not over and not request.app.state.leaving.is_set() and time.monotonic() - began < _LIFE_S:
        news, over = await run_in_threadpool(_checked, look)
        if not news and time.monotonic() - said > _QUIET_S:
            news = ":\n\n"
        if news:
            yield news
            said = time.monotonic()
        if not over:
            await asyncio.sleep(_PAUSE_S)
    if over:
        yield event("end", "")


def _checked(look: Look) -> tuple[str, bool]:
    try:
        return look()
    except ApsdmError as error:
        return event("fault", escape(str(error))), True
