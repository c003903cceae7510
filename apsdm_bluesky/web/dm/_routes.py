"""Which routers the application of DM's clients gets."""

from fastapi import FastAPI

from apsdm_bluesky.config import BeamlineConfig

from . import _daqs, _experiments, _facility, _login, _processing
from ._here import DmStation
from ._service import PREFIX, DmService, tell_errors


def dm_service(app: FastAPI, config: BeamlineConfig) -> DmService:
    """The application, which shares people and jobs with the pages in `app`."""
    routes = FastAPI(openapi_url=None, redirect_slashes=False)
    routes.state = app.state
    routes.dependency_overrides = app.dependency_overrides
    app.state.dm_station = DmStation(config, app.state.beamline, app.state.daqs)
    for room in (_login, _facility, _experiments, _daqs, _processing):
        routes.include_router(room.router, prefix=PREFIX)
    tell_errors(routes)
    return DmService(routes)
