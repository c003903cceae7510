"""A client of the catalogue."""

from typing import Any

import httpx

from apsdm_bluesky.errors import ServiceError


def connect(uri: str, api_key: str | None) -> Any:
    """The root of the catalogue at `uri` as a Tiled client; its children are `raw` and `processed`.

    Raises
    ------
    ServiceError
        The server does not answer, or refuses the key.
    """
    from apsdm_bluesky.spool import open_client  # brings the Tiled client, which takes seconds

    try:
        return open_client(uri, api_key)
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        hint = "check the API key" if code == httpx.codes.UNAUTHORIZED else "see the server's log"
        raise ServiceError(f"the Tiled server at {uri} answers {code}; {hint}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServiceError(f"no Tiled server answers at {uri} ({error}); start one: apsdm serve") from error
