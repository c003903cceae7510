"""Routes of pages: what goes wrong is told in a page, with one clear line."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.responses import Response

from apsdm_bluesky.errors import ConfigError, ServiceError, StorageError
from apsdm_bluesky.tiled_config import person_of

from ._pages import page

_UNAVAILABLE = (ConfigError, ServiceError, StorageError)


class PageRoute(APIRoute):
    """A route whose errors are pages; an answer that sends the browser elsewhere passes."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with that around it."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except _UNAVAILABLE as error:
                return await _error(request, 503, str(error))
            except RequestValidationError as error:
                place = ", ".join(str(one["loc"][-1]) for one in error.errors())
                return await _error(request, 400, f"The address is not understood: {place}.")
            except HTTPException as error:
                if error.status_code < 400:
                    raise
                return await _error(request, error.status_code, error.detail)

        return handled


def pages() -> APIRouter:
    """A router of such routes."""
    return APIRouter(route_class=PageRoute)


async def _error(request: Request, status: int, message: str) -> Response:
    return page(request, "error.html", await person_of(request), status=status, message=message)
