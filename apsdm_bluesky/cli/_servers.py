"""`apsdm up`, `serve`, `agent`: the processes that stay."""

import json
import logging
import signal
import threading
from typing import TYPE_CHECKING

import typer

from apsdm_bluesky.config import BeamlineConfig

from ._logs import log_to_file, log_to_terminal
from ._options import ConfigOption, HomeOption, JsonOption, configured

if TYPE_CHECKING:
    from ._services import Services

_POLL_S = 0.5


def serve(config: ConfigOption = None, home: HomeOption = None) -> None:
    """Run the Tiled server in the foreground until Ctrl-C."""
    from apsdm_bluesky.web import serve as serve_now

    log_to_terminal(logging.INFO)
    serve_now(configured(config, home))


def agent(
    config: ConfigOption = None,
    home: HomeOption = None,
    status: bool = typer.Option(False, "--status", help="Tell what is archived and what waits, and end."),
    as_json: JsonOption = False,
) -> None:
    """Run the agent in the foreground: it adopts orphaned spools and archives completed runs."""
    from apsdm_bluesky.agent import archive_status, run_agent
    from apsdm_bluesky.tiled_config import server_key, server_uri

    settings = configured(config, home)
    if not status:
        log_to_file(settings.folders)
        log_to_terminal(logging.INFO)
        run_agent(settings, uri=server_uri(settings), api_key=server_key(settings))
        return
    found = archive_status(settings)
    if as_json:
        print(json.dumps(found))
        return
    counts = ", ".join(f"{number} {state}" for state, number in found["counts"].items()) or "nothing yet"
    print(f"agent {'running, ' + found['running'] if found['running'] else 'not running'}; archive: {counts}")
    for bundle in found["bundles"]:
        if bundle["reason"]:
            whose = " (needs a person)" if bundle["needs_person"] else ""
            print(f"  {bundle['uid'][:20]:20} {bundle['state']}{whose}: {bundle['reason']}")
    for reading in found["readings"]:
        whose = " (needs a person)" if reading["needs_person"] else ""
        told = (
            f"{reading['purpose']} of {reading['bundle'][:20]} {reading['state']}{whose} {reading['reason']}"
        )
        print(f"  {told}".rstrip())
    for text in found["stuck"]:
        print(f"  stuck: {text}")


def up(config: ConfigOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Start the Tiled server and the agent, and keep them until Ctrl-C.

    Exit code 1 where one of them ends by itself.
    """
    stop = threading.Event()
    signal.signal(signal.SIGTERM, _interrupt)
    settings = configured(config, home)
    log_to_file(settings.folders)
    try:
        from ._services import services

        with services(settings, lasting=True) as running:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: stop.set())
            _tell(settings, running, as_json)
            while not stop.wait(_POLL_S):
                running.check()
    except KeyboardInterrupt:  # while they start
        return


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _tell(settings: BeamlineConfig, running: "Services", as_json: bool) -> None:
    key_file = settings.folders.catalog / "api_key"
    if as_json:
        print(
            json.dumps(
                {"tiled_uri": running.uri, "api_key_file": str(key_file), "home": str(settings.folders.root)}
            ),
            flush=True,
        )
        return
    print(f"Tiled   {running.uri}    (API key: {key_file})")
    print(f"State   {settings.folders.root}")
    print(f"Ctrl-C ends {' and '.join(running.own) or 'this command; both ran before'}.", flush=True)
