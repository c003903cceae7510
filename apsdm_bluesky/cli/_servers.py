"""`apsdm up`, `serve`, `agent`: the processes that stay."""

import json
import signal
import threading

import typer

from apsdm_bluesky.config import BeamlineConfig

from ._options import ConfigOption, HomeOption, JsonOption, configured


def serve(config: ConfigOption = None, home: HomeOption = None) -> None:
    """Run the Tiled server in the foreground until Ctrl-C."""
    from apsdm_bluesky.tiled_config import serve as serve_now

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
        run_agent(settings, uri=server_uri(settings), api_key=server_key(settings))
        return
    found = archive_status(settings)
    if as_json:
        print(json.dumps(found))
        return
    counts = ", ".join(f"{number} {state}" for state, number in found["counts"].items()) or "nothing yet"
    print(f"agent {'running' if found['running'] else 'not running'}; archive: {counts}")


def up(config: ConfigOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Start the Tiled server and the agent, and keep them until Ctrl-C."""
    from ._services import services

    settings = configured(config, home)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with services(settings) as running:
        _tell(settings, running.uri, as_json)
        stop.wait()


def _tell(settings: BeamlineConfig, uri: str, as_json: bool) -> None:
    key_file = settings.folders.catalog / "api_key"
    if as_json:
        print(
            json.dumps({"tiled_uri": uri, "api_key_file": str(key_file), "home": str(settings.folders.root)}),
            flush=True,
        )
        return
    print(f"Tiled   {uri}    (API key: {key_file})")
    print(f"State   {settings.folders.root}")
    print("Ctrl-C ends both.", flush=True)
