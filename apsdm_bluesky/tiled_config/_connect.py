"""A client of the catalogue."""

from typing import Any

import httpx
from tiled.client import from_uri

from apsdm_bluesky.errors import ServiceError


def connect(uri: str, api_key: str | None) -> Any:
    """See `apsdm_bluesky.tiled_config.connect`."""
    try:
        return from_uri(uri, api_key=api_key, remember_me=False)
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        hint = "check the API key" if code == httpx.codes.UNAUTHORIZED else "see the server's log"
        raise ServiceError(f"the Tiled server at {uri} answers {code}; {hint}") from error
    except httpx.HTTPError as error:
        raise ServiceError(
            f"no Tiled server answers at {uri} ({error}); start one with 'apsdm serve'"
        ) from error
