"""The authenticators that Tiled's configuration names: its own and the password file, with attempts counted.

Loaded by the server only: it brings Tiled's server.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Request
from tiled.authenticators import LDAPAuthenticator, OIDCAuthenticator, PAMAuthenticator
from tiled.server.protocols import InternalAuthenticator, UserSessionState

from apsdm_bluesky.errors import ApsdmError, ConfigError, ServiceError

from ._caller import caller
from ._key import secret_of
from ._passwords import SERVICE_NAME, PasswordFile, is_name
from ._throttle import Throttle

log = logging.getLogger(__name__)

_AT_ONCE = 4  # checks of passwords: each of ours takes 32 MiB and a processor
_LONGEST_NAME = 255

Check = Callable[[str, str], bool]


class Guarded(InternalAuthenticator):
    """Checks a password away from the event loop, counts attempts, and takes no names that ours cannot be.

    Parameters
    ----------
    check
        Whether name and password are right; may block.
    """

    confirmation_message = ""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._throttle = Throttle()
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def authenticate(self, username: str, password: str) -> UserSessionState | None:
        """The person, or None where name and password do not fit.

        Raises
        ------
        HTTPException
            429: too many attempts. 503: passwords cannot be checked now.
        """
        name = username if is_name(username) else ""
        if not name or not password:
            return None
        address = caller.get()
        wait = self._throttle.attempt(name, address)
        if wait:
            log.warning("too many wrong passwords for %r from %s", name, address)
            raise _too_many(wait)
        if not await self._right(name, password):
            return None
        self._throttle.succeeded(name, address)
        return UserSessionState(name, {})

    async def _right(self, name: str, password: str) -> bool:
        async with self._turn:
            try:
                return await asyncio.to_thread(self._check, name, password)
            except ApsdmError as error:
                log.error("%s", error)  # noqa: TRY400 - one line; who mends it needs no traceback
                raise HTTPException(503, "Nobody can log in now; the server's log tells why.") from error


class Oidc(OIDCAuthenticator):
    """Tiled's, for names that can be shown and are not the one of the beamline's own processes."""

    async def authenticate(self, request: Request) -> UserSessionState | None:
        """The person that the identity provider tells of; None where it does not."""
        state: UserSessionState | None = await super().authenticate(request)
        if state is None or not _can_be_shown(state.user_name):
            return None
        return state


def password_file(path: str) -> Guarded:
    """The embedded one, see `PasswordFile`."""
    return Guarded(PasswordFile(path=Path(path)).accepts)


def pam(service: str) -> Guarded:
    """Accounts of this machine."""
    _need("pamela", "pam")
    return Guarded(_apart(PAMAuthenticator(service)))


def ldap(*, secret_file: str | None, **arguments: Any) -> Guarded:
    """A directory; `arguments` are those of Tiled's LDAPAuthenticator."""
    _need("ldap3", "ldap")
    secret = None
    if arguments["lookup_dn_search_user"] is not None:
        secret = secret_of(_path(secret_file), "APSDM_LDAP_PASSWORD", "people.ldap.secret_file")
    # A person is who they say they are, not what an attribute of theirs reads.
    inner = LDAPAuthenticator(**arguments, lookup_dn_search_password=secret, use_lookup_dn_username=False)
    return Guarded(_told(_apart(inner)))


def oidc(*, secret_file: str | None, public_uri: str, **arguments: Any) -> Oidc:
    """An identity provider; `arguments` are those of Tiled's OIDCAuthenticator."""
    secret = secret_of(_path(secret_file), "APSDM_OIDC_SECRET", "people.oidc.secret_file")
    login = f"{public_uri.rstrip('/')}/login"
    return Oidc(
        **arguments,
        client_secret=secret,
        redirect_on_success=f"{login}/finish",
        redirect_on_failure=f"{login}?failed=1",
    )


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)


def _need(module: str, extra: str) -> None:
    if find_spec(module) is None:
        raise ConfigError(
            f"people.provider: {extra} needs the package {module}; run: pip install 'apsdm-bluesky[{extra}]'"
        )


def _apart(inner: InternalAuthenticator) -> Check:
    """Tiled's check in a loop of its own, in the thread that runs it: PAM waits for seconds."""

    def check(name: str, password: str) -> bool:
        return asyncio.run(inner.authenticate(name, password)) is not None

    return check


def _told(check: Check) -> Check:
    """A directory that does not answer is no wrong password."""
    from ldap3.core.exceptions import LDAPException

    def checked(name: str, password: str) -> bool:
        try:
            return check(name, password)
        except LDAPException as error:
            raise ServiceError(f"people.ldap: the directory cannot be asked ({error}); see server_address") from error

    return checked


def _can_be_shown(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and name.isprintable() and name != SERVICE_NAME


def _too_many(wait: float) -> HTTPException:
    seconds = math.ceil(wait)
    return HTTPException(
        429,
        f"Too many wrong passwords for this name or from this address. Try again in {seconds} s.",
        headers={"Retry-After": str(seconds)},
    )
