"""Who a request comes from, and logging in and out of pages, by Tiled's own means.

Loaded by the server only: it brings Tiled's server.
"""

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import HTTPException, Request
from fastapi.security.utils import get_authorization_scheme_param
from jwt import PyJWTError
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload
from tiled.authn_database.core import get_or_create_principal, lookup_valid_api_key
from tiled.authn_database.orm import APIKey, Principal
from tiled.server.authentication import decode_token
from tiled.server.connection_pool import get_database_engine
from tiled.server.schemas import PrincipalType
from tiled.server.settings import Settings, get_settings
from tiled.server.utils import API_KEY_COOKIE_NAME

from apsdm_bluesky.config import PeopleConfig

from ._passwords import SERVICE_NAME

LOGIN_LIFE = timedelta(hours=12)  # as long as a shift


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginKind:
    """How somebody is logged in: by a key of Tiled's, of limited life, in a cookie.

    Parameters
    ----------
    cookie, path
        Its name, and where it is sent.
    note
        Marks the keys; a key of another kind opens nothing here. Others may write it into theirs: it is not enough.
    scopes
        What it opens in Tiled's own interface.
    """

    cookie: str
    path: str
    note: str
    scopes: tuple[str, ...]


# It reads; pages do more in a person's name by themselves.
BROWSER_LOGIN = LoginKind(
    cookie=API_KEY_COOKIE_NAME, path="/", note="login of a browser", scopes=("read:metadata", "read:data")
)
DM_LOGIN = LoginKind(cookie="dm_session", path="/dm", note="login of a DM client", scopes=())
LOGIN_COOKIE = BROWSER_LOGIN.cookie


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who is known to the server.

    Parameters
    ----------
    name
        Under the configured provider; 'beamline' for the owner of the server's own API key.
    staff
        Whether they see everybody's jobs.
    """

    name: str
    staff: bool


async def person_of(request: Request, kind: LoginKind = BROWSER_LOGIN) -> Person | None:
    """Who asks, by an API key (header or cookie) or a token; None where that is missing, wrong or expired.

    A key that may do less than its person is none.
    """
    async with _database(request) as db:
        return _person(await _principal(request, db, kind), request.app.state.people)


async def log_in(request: Request, name: str, password: str, kind: LoginKind = BROWSER_LOGIN) -> str | None:
    """The secret of a new login of `LOGIN_LIFE`, for the cookie of its kind; None where name or password is wrong.

    Raises
    ------
    HTTPException
        429: too many attempts. 503: passwords cannot be checked now. 404: the provider has no passwords.
    """
    if not _by_password(request):
        raise HTTPException(404, "No passwords here; log in with your institute.")
    state = await request.app.state.authenticator.authenticate(name, password)
    if state is None:
        return None
    async with _database(request) as db:
        provider = request.app.state.people.provider
        return await _new_login(db, await get_or_create_principal(db, provider, state.user_name), kind)


async def log_in_by_token(request: Request, token: str) -> str | None:
    """As `log_in`, of whom an identity provider has just told Tiled."""
    async with _database(request) as db:
        principal = await _of_token(token, _settings(request), db)
        person = _person(principal, request.app.state.people)
        return None if person is None else await _new_login(db, principal, BROWSER_LOGIN)


async def log_out(request: Request, kind: LoginKind = BROWSER_LOGIN) -> None:
    """The login of this cookie ends: its secret opens nothing any more. The beamline's own key stays."""
    secret = _bytes(request.cookies.get(kind.cookie, ""))
    async with _database(request) as db:
        ours = (APIKey.hashed_secret == hashlib.sha256(secret).digest()) & (APIKey.note == kind.note)
        await db.execute(delete(APIKey).where(ours))
        await db.commit()


def _by_password(request: Request) -> bool:
    people: PeopleConfig = request.app.state.people
    return people.provider != "oidc"


def _settings(request: Request) -> Settings:
    return request.app.dependency_overrides[get_settings]()


def _database(request: Request) -> AsyncSession:
    engine = get_database_engine(_settings(request))
    return AsyncSession(engine, autoflush=False, expire_on_commit=False)


async def _principal(request: Request, db: AsyncSession, kind: LoginKind) -> Any:
    scheme, credential = get_authorization_scheme_param(request.headers.get("Authorization"))
    if scheme.lower() == "bearer":
        return await _of_token(credential, _settings(request), db)
    given = scheme.lower() == "apikey"
    key = credential if given else request.cookies.get(kind.cookie, "")
    found = await lookup_valid_api_key(db, _bytes(key))
    # A key that was made to read opens no page: there one cancels and starts.
    whole = found is not None and ("inherit" in found.scopes or (not given and _is_login(found, kind)))
    return found.principal if whole else None


def _is_login(key: Any, kind: LoginKind) -> bool:
    """Whether this key came of a login. Its note alone says nothing: whoever makes a key chooses that."""
    if key.note != kind.note or key.expiration_time is None or sorted(key.scopes) != sorted(kind.scopes):
        return False
    return bool(key.expiration_time.replace(tzinfo=UTC) <= datetime.now(UTC) + LOGIN_LIFE)


async def _of_token(token: str, settings: Settings, db: AsyncSession) -> Any:
    try:
        claims = decode_token(token, settings.secret_keys)
        # A refresh token has no `sub`: it opens nothing by itself.
        known = uuid.UUID(hex=claims.get("sub", ""))
    except (HTTPException, PyJWTError, ValueError):
        return None
    wanted = select(Principal).where(Principal.uuid == known).options(selectinload(Principal.identities))
    return (await db.execute(wanted)).scalars().unique().one_or_none()


def _person(principal: Any, people: PeopleConfig) -> Person | None:
    if principal is None:
        return None
    if principal.type == PrincipalType.service:
        return Person(name=SERVICE_NAME, staff=True)
    for identity in principal.identities:
        if identity.provider == people.provider:
            return Person(name=identity.id, staff=identity.id in people.staff)
    return None


async def _new_login(db: AsyncSession, principal: Any, kind: LoginKind) -> str:
    secret = secrets.token_bytes(4 + 32)  # as Tiled makes them: the first eight digits are kept readable
    now = datetime.now(UTC)
    # Tiled removes an expired key only when it is used again, and nobody uses these.
    await db.execute(delete(APIKey).where(APIKey.note == kind.note, APIKey.expiration_time < now))
    db.add(
        APIKey(
            principal_id=principal.id,
            note=kind.note,
            scopes=list(kind.scopes),
            expiration_time=now + LOGIN_LIFE,
            first_eight=secret.hex()[:8],
            hashed_secret=hashlib.sha256(secret).digest(),
        )
    )
    await db.commit()
    return secret.hex()


def _bytes(key: str) -> bytes:
    try:
        return bytes.fromhex(key)
    except ValueError:
        return b""
