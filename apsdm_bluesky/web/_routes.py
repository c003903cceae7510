"""Which routers the application gets."""

from pathlib import Path

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from . import _home, _login
from ._pages import STATIC

_FOLDER = Path(__file__).parent / "static"


def add_routes(app: FastAPI) -> None:
    """Put the pages into Tiled's application, in the place of its own at `/`."""
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", None) != "/"]
    app.include_router(_home.router, include_in_schema=False)
    app.include_router(_login.router, include_in_schema=False)
    app.mount(STATIC, StaticFiles(directory=_FOLDER))
