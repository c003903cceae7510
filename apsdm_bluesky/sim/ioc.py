"""The simulated detector's process: ``python -m apsdm_bluesky.sim.ioc``.

Reads `DetectorSettings` as one line of JSON from stdin, answers ``{"ready": true}`` or ``{"ready": false,
"error": ...}`` in one line on stdout, and serves until stdin ends (its parent died or let go) or SIGTERM.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from typing import Any

from caproto.asyncio.server import Context
from pydantic import ValidationError

from apsdm_bluesky.errors import ApsdmError

from ._camera import Camera
from ._frame_source import open_source
from ._pva_plugin import PvaPlugin
from ._records import PORT, DetectorRecords
from ._settings import DetectorSettings


def main() -> int:
    """Serve one detector; returns the exit code."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")  # to stderr: our log
    try:
        settings = DetectorSettings.model_validate_json(sys.stdin.buffer.readline())
        source = open_source(settings.simulation, settings.layout)
    except (ApsdmError, ValidationError) as error:
        _answer(ready=False, error=str(error))
        return 1
    plugin = PvaPlugin(settings, source, PORT)
    camera = Camera(
        source,
        plugin,
        settings.fault,
        frames_per_message=settings.frames_per_message,
        speed=settings.simulation.speed,
    )
    try:
        asyncio.run(_serve(DetectorRecords(settings.prefix, camera, plugin), camera))
    finally:
        plugin.stop()
    return 0


async def _serve(records: DetectorRecords, camera: Camera) -> None:
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, end.set)
    threading.Thread(target=_drain_stdin, args=(loop, end), daemon=True).start()

    async def announce(_library: object) -> None:
        _answer(ready=True)

    server = Context(records.pvdb, ["127.0.0.1"])
    serving: asyncio.Future[Any] = asyncio.gather(
        server.run(startup_hook=announce), records.refresh_forever()
    )
    ending: asyncio.Future[Any] = asyncio.ensure_future(end.wait())
    await asyncio.wait([serving, ending], return_when=asyncio.FIRST_COMPLETED)
    camera.stop()  # puts that wait for it are threads that this loop would wait for
    if serving.done():
        await serving  # it only ends by an error
    serving.cancel()


def _drain_stdin(loop: asyncio.AbstractEventLoop, end: asyncio.Event) -> None:
    # Not through sys.stdin: a thread that waits in it aborts the interpreter's shutdown.
    while os.read(0, 4096):
        pass
    loop.call_soon_threadsafe(end.set)


def _answer(**answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
