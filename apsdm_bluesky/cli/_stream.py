"""`apsdm stream`: a group of processes that reduces a series where one is too slow."""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from typing import Annotated, Any

import typer

from apsdm_bluesky.errors import ApsdmError, ConfigError, ServiceError

from ._logs import log_to_file, log_to_terminal
from ._options import ConfigOption, HomeOption, JsonOption, configured
from ._stream_group import StreamGroup, plan_for, stream_group, use_interface
from ._stream_state import StateFile

_STOP_TIMEOUT_S = 60.0
_POLL_S = 0.1

app = typer.Typer(
    help="Reduce a series with several processes: consumers that pack events, a collector that correlates.",
    no_args_is_help=True,
)


@app.command()
def start(
    config: ConfigOption = None,
    home: HomeOption = None,
    frames: Annotated[
        int | None,
        typer.Option(
            "--frames", min=1, help="Frames of the series; default: the configuration's.", show_default=False
        ),
    ] = None,
    base_id: Annotated[
        int | None,
        typer.Option(
            "--base-id",
            min=0,
            help="Number of the last message before the series; default: the channel's present one.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start a group and take one series. Start the detector when it is ready.

    Ends with the series: the last frame has come, the detector is silent, or Ctrl-C.
    """
    settings = configured(config, home)
    plan = plan_for(settings)
    log_to_file(settings.folders)
    if not as_json:
        log_to_terminal(_WARNING)
    use_interface(settings.stream.interface, serve=True)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with stream_group(plan, frames=frames or settings.stream.frames, base_id=base_id) as group:
        ledger = _series(group, stop, as_json)
    print(json.dumps(ledger) if as_json else _summary(ledger))


_WARNING = 30


def _series(group: StreamGroup, stop: threading.Event, as_json: bool) -> dict[str, Any]:
    """The ledger; it is written also where the series ends by a fault, or before it is ready."""
    try:
        group.wait_ready(stop)
        if not stop.is_set():
            _tell_ready(group, as_json)
            group.follow(stop)
    except ApsdmError as error:
        group.finish(str(error))
        raise
    return group.finish("stopped" if stop.is_set() else "")


def _tell_ready(group: StreamGroup, as_json: bool) -> None:
    status = group.status("ready")
    if as_json:
        print(json.dumps(status), flush=True)
    else:
        print(f"Ready: {len(status['alive'])} consumers read {status['source']}; start the detector.")
        print("Ctrl-C ends the series.", flush=True)


def _summary(ledger: dict[str, Any]) -> str:
    counts = ", ".join(f"{ledger[key]} {key}" for key in ("missing", "corrupt", "duplicate", "stale"))
    told = f"{ledger['accepted']} of {ledger['expected']} frames reduced: {counts}"
    return f"{told}\nResult {ledger['result'] or 'none'}"


@app.command()
def status(config: ConfigOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Tell how the group does, or how its last series ended."""
    state = StateFile(configured(config, home).folders)
    told = {"running": state.runs(), **state.read()}
    if as_json:
        print(json.dumps(told))
        return
    if "pid" not in told:
        print("no group has run here")
        return
    if "consumers" not in told:
        print(
            f"starting (pid {told['pid']})"
            if told["running"]
            else "not running; the last group did not start"
        )
        return
    print(f"running (pid {told['pid']})" if told["running"] else "not running; the last series:")
    print(_summary({"result": None, **told}))
    for number, counts in told["consumers"].items():
        alive = told["running"] and told["alive"].get(number, counts["process"]) is not None
        print(
            f"consumer {number} ({'alive' if alive else 'ended'}): {counts['received']} messages received, "
            f"{counts['delivered']} delivered, {counts['lost']} lost"
        )
    for death in told["deaths"]:
        print(f"consumer {death['consumer']} (pid {death['process']}) died: {death['how']}")


@app.command()
def stop(config: ConfigOption = None, home: HomeOption = None) -> None:
    """End the group's series; what has come is kept."""
    settings = configured(config, home)
    state = StateFile(settings.folders)
    if not state.runs():
        print("no group runs here")
        return
    pid = int(state.read()["pid"])
    with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while state.runs():
        if time.monotonic() > deadline:
            raise ServiceError(f"the group (pid {pid}) does not end; end it by hand")
        time.sleep(_POLL_S)
    print("stopped")


@app.command()
def join(
    number: Annotated[
        int, typer.Argument(min=1, help="The consumer's number, above stream.consumers; no other one has it.")
    ],
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Run one more consumer in the foreground, for a group on this or another machine."""
    settings = configured(config, home)
    if number <= settings.stream.consumers:
        raise ConfigError(
            f"consumer {number} is one of the group's own; take a number above {settings.stream.consumers} "
            "(stream.consumers)"
        )
    plan = plan_for(settings)
    use_interface(settings.stream.interface, serve=False)
    arguments = plan.consumers().arguments(number)
    os.execv(sys.executable, [sys.executable, "-m", "pvapy.cli.hpcConsumer", *arguments])  # noqa: S606
