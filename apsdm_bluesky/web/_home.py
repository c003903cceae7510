"""The landing page: who you are, and where to go."""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from ._pages import Member, page

router = APIRouter()


@router.get("/")
async def home(request: Request, person: Member) -> HTMLResponse:
    """Who you are, and links."""
    return page(request, "home.html", person)
