"""Logging in and out with a browser."""

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, HTTPException, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from apsdm_bluesky.tiled_config import LOGIN_COOKIE, Person, log_in, log_in_by_token, log_out, person_of

from ._cookie import give_login
from ._pages import OwnForm, has_token, page

router = APIRouter()


@router.get("/login")
async def show(request: Request, next: str = "/", failed: bool = False) -> HTMLResponse:  # noqa: A002
    """The form, or the way to the institute's login."""
    message = "The login failed." if failed else ""
    return _form(request, await person_of(request), next, message)


@router.post("/login", dependencies=[OwnForm])
async def enter(
    request: Request,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    next: str = "/",  # noqa: A002
) -> Response:
    """Check name and password; the browser gets a login of limited life."""
    try:
        secret = await log_in(request, name, password)
    except HTTPException as error:
        return _form(request, None, next, error.detail, status=error.status_code, headers=error.headers)
    if secret is None:
        return _form(request, None, next, "Name or password is wrong.", status=401)
    response = RedirectResponse(_local(next), 303)
    give_login(request, response, secret)
    return response


@router.get("/login/finish")
async def finish(request: Request, access_token: str = "", state: str = "") -> Response:
    """Back from the institute's login, which Tiled has checked. `state` shows that this browser began it."""
    secret = await log_in_by_token(request, access_token) if has_token(request, state) else None
    if secret is None:
        return _form(request, None, "/", "The login failed.", status=401)
    # A page, not a redirect: after one from another site the browser would not yet send the strict cookie.
    response = page(request, "welcome.html", None)
    give_login(request, response, secret)
    return response


@router.post("/logout", dependencies=[OwnForm])
async def leave(request: Request) -> Response:
    """End this browser's login."""
    await log_out(request)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(LOGIN_COOKIE)
    return response


def _form(
    request: Request,
    person: Person | None,
    next_page: str,
    message: str,
    *,
    status: int = 200,
    headers: Any = None,
) -> HTMLResponse:
    external = request.app.state.people.provider == "oidc"
    answer = page(
        request,
        "login.html",
        person,
        status=status,
        next=quote(_local(next_page), safe=""),
        message=message,
        external=external,
    )
    answer.headers.update(headers or {})
    return answer


def _local(path: str) -> str:
    r"""A page of this server. Browsers take `//host` and `/\host` for another one."""
    return path if path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable() else "/"
