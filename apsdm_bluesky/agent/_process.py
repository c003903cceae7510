"""An agent in a process of its own, ordered by a line of JSON on its standard input."""

import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ApsdmError, ServiceError

from ._agent import Agent


def run_agent(config: BeamlineConfig, *, uri: str | None = None, api_key: str | None = None) -> None:
    """Run an agent in the foreground until SIGTERM or SIGINT. Raises as `Agent.run`."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Agent(config, uri=uri, api_key=api_key).run(stop)


@contextmanager
def agent_process(
    config: BeamlineConfig, *, uri: str | None = None, api_key: str | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """An agent in a process of its own; it ends with this context, and with this process however that ends.

    Raises
    ------
    ServiceError
        It did not start; the message is its own.
    """
    order = {
        "config": config.model_dump(mode="json"),
        "uri": uri,
        "api_key": api_key,
        "die_with_parent": True,
    }
    log_file = config.folders.logs / "agent.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with (
        log_file.open("a") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "apsdm_bluesky.agent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # Ctrl-C pauses a plan; it must not reach the agent
        ) as process,
    ):
        try:
            _start(process, json.dumps(order), log_file)
            yield process
        finally:
            process.terminate()


def _start(process: "subprocess.Popen[str]", order: str, log_file: Path) -> None:
    if process.stdin is None or process.stdout is None:
        raise ServiceError("the agent's process has no pipes")
    process.stdin.write(order + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise ServiceError(f"the agent did not start; its last words are in {log_file}")
    said = json.loads(answer)
    if "error" in said:
        raise ServiceError(f"the agent did not start: {said['error']}")


def _child(stop: threading.Event) -> int:
    """An agent as its parent orders it: one line of JSON on stdin, one of JSON on stdout when it is ready."""
    try:
        order = json.loads(sys.stdin.readline())
        config = BeamlineConfig(**order["config"])
    except (ValueError, TypeError, KeyError) as error:
        _say({"error": f"its order cannot be read: {' '.join(str(error).split())}"})
        return 1
    agent = Agent(config, uri=order.get("uri"), api_key=order.get("api_key"))
    if order.get("die_with_parent"):
        threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
    try:
        agent.run(stop, lambda: _say({"ready": True}))
    except ApsdmError as error:
        _say({"error": str(error)})
        return 1
    return 0


def _stop_at_end_of_input(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run an agent as its parent orders it; returns the exit code."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return _child(stop)
