"""The cookie by which somebody stays logged in."""

from datetime import UTC, datetime

from fastapi import Request
from starlette.responses import Response

from apsdm_bluesky.tiled_config import BROWSER_LOGIN, LOGIN_LIFE, LoginKind


def give_login(request: Request, response: Response, secret: str, kind: LoginKind = BROWSER_LOGIN) -> None:
    """Have an answer bring a new login: scripts cannot read it, and no other site can have it sent."""
    response.set_cookie(
        kind.cookie,
        secret,
        max_age=int(LOGIN_LIFE.total_seconds()),
        # The facility's own DM client reads this one: when to log in again.
        expires=datetime.now(UTC) + LOGIN_LIFE,
        path=kind.path,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
