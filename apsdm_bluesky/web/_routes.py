"""Which routers the application gets."""

from pathlib import Path

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from apsdm_bluesky.config import BeamlineConfig

from . import _daqs, _edit, _home, _jobs, _login, _logs, _workflows
from ._beamline import Beamline
from ._daq_room import DaqRoom
from ._pages import STATIC
from .dm import mount_dm

_FOLDER = Path(__file__).parent / "static"


def add_routes(app: FastAPI, config: BeamlineConfig) -> None:
    """Put the pages into Tiled's application, in the place of its own at `/`."""
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", None) != "/"]
    app.state.beamline = Beamline(config)
    app.state.daqs = DaqRoom(config)
    for room in (_home, _login, _jobs, _logs, _edit, _workflows, _daqs):
        app.include_router(room.router, include_in_schema=False)
    mount_dm(app, config)
    app.mount(STATIC, StaticFiles(directory=_FOLDER))
