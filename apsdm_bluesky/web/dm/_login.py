"""Logging in and out, as DM's clients do."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from apsdm_bluesky.tiled_config import DM_LOGIN, log_in, log_out
from apsdm_bluesky.web._cookie import give_login
from apsdm_bluesky.web._forms import form_of

from ._answer import Answer, refused

router = APIRouter()

_LARGEST = 64 << 10  # bytes


@router.post("/login")
async def enter(request: Request) -> Response:
    """Check name and password; the client gets a session of limited life."""
    fields = await form_of(request, _LARGEST)
    secret = await log_in(request, fields.get("username", ""), fields.get("password", ""), DM_LOGIN)
    if secret is None:
        return refused(401, "Name or password is wrong.")
    # One cookie, and no other header of that name: clients send the whole header back as their own.
    answer = Answer({"username": fields["username"]})
    give_login(request, answer, secret, DM_LOGIN)
    return answer


@router.post("/logout")
async def leave(request: Request) -> Response:
    """End this session."""
    await log_out(request, DM_LOGIN)
    answer = Answer({})
    answer.delete_cookie(DM_LOGIN.cookie, path=DM_LOGIN.path)
    return answer
