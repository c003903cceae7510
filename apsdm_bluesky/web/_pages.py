"""What all pages share: templates, headers, the token against forged requests, and who is logged in."""

import hmac
import secrets
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, HTTPException, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse
from tiled.server.utils import CSRF_COOKIE_NAME

from apsdm_bluesky.tiled_config import Person, person_of

from ._filters import FILTERS

STATIC = "/apsdm/static"

# No script, style or frame but from files of this server: what a run's metadata say is never run.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_templates = Environment(
    loader=PackageLoader("apsdm_bluesky.web"), autoescape=True, undefined=StrictUndefined, auto_reload=False
)
_templates.globals["static"] = STATIC
_templates.filters |= FILTERS


def page(
    request: Request, template: str, person: Person | None, *, status: int = 200, **context: Any
) -> HTMLResponse:
    """A page from `templates/`, everything escaped. Its forms post to addresses with `?csrf={{ csrf }}`."""
    return HTMLResponse(fragment(request, template, person, **context), status, HEADERS)


def fragment(request: Request, template: str, person: Person | None, **context: Any) -> str:
    """The same, as text."""
    return _templates.get_template(template).render(person=person, csrf=_token(request), **context)


def _token(request: Request) -> str:
    """Tiled's token of this browser; a new one, where there is none, is set with the answer."""
    token = request.cookies.get(CSRF_COOKIE_NAME)
    if token is None:
        token = secrets.token_urlsafe(32)
        request.state.cookies_to_set.append({"key": CSRF_COOKIE_NAME, "value": token})
    return token


def has_token(request: Request, token: str) -> bool:
    """Whether this is the token of the browser that asks."""
    known = request.cookies.get(CSRF_COOKIE_NAME, "")
    return bool(known) and hmac.compare_digest(known.encode(), token.encode())


async def own_form(request: Request) -> None:
    """Refuse what does not come from a form of ours. Tiled checks the same, but only of who is logged in."""
    if not has_token(request, request.headers.get("x-csrf", "")):
        raise HTTPException(403, "This form is not from this server, or is old; open the page again.")


async def logged_in(request: Request) -> Person:
    """Who asks; anybody else is sent to the login, and then back."""
    person = await person_of(request)
    if person is None:
        back = request.url.path if request.method == "GET" else "/"
        raise HTTPException(303, headers={"Location": f"/login?next={quote(back, safe='')}"})
    return person


Member = Annotated[Person, Depends(logged_in)]
OwnForm = Depends(own_form)
