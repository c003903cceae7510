"""How values stand in pages."""

import shlex
import time
from datetime import datetime
from urllib.parse import quote, unquote

from apsdm_bluesky.daq import counts_text, not_taken
from apsdm_bluesky.texts import seconds_text, size_text, time_text, value_text
from apsdm_bluesky.workflows.jobs import shown, status_text


def local(seconds: float) -> str:
    """A time [s since the Unix epoch] in the zone of the server, which is the beamline's."""
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S %Z}"


def iso(seconds: float) -> str:
    """The same for programs."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def age(seconds: float) -> str:
    """How long ago that was."""
    return f"{time_text(time.time() - seconds)} ago"


def segment(text: str) -> str:
    """Any text as one part of an address; `text_of` gives it back.

    Quoted twice: a server undoes one before it looks for slashes. Browsers take dots for a way up even when
    these are quoted once.
    """
    once = quote(text, safe="")
    return quote(once.replace(".", "%2E") if once in (".", "..") else once, safe="")


def text_of(part: str) -> str:
    """The text that `segment` made a part of an address."""
    return unquote(part)


FILTERS = {
    "age": age,
    "counts": counts_text,
    "iso": iso,
    "local": local,
    "not_taken": not_taken,
    "segment": segment,
    "shell": shlex.join,
    "shown": shown,
    "size": size_text,
    "status": status_text,
    "took": seconds_text,
    "value": value_text,
}
