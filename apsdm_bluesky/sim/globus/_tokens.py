"""Access and refresh tokens, scopes and consents of Globus Auth."""

import secrets
import time
from collections.abc import Callable

from ._errors import ApiError, OAuthError
from ._settings import Behaviour
from ._store import Document, Store

__all__ = ["COMPUTE_SCOPE", "TRANSFER_SCOPE", "Tokens", "data_access_scope", "parse_scopes"]

TRANSFER_SCOPE = "urn:globus:auth:scope:transfer.api.globus.org:all"
COMPUTE_SCOPE = "https://auth.globus.org/scopes/facd7ccc-c5f4-42aa-916b-a0e270e2c2a9/all"
_TRANSFER, _AUTH, _COMPUTE = "transfer.api.globus.org", "auth.globus.org", "funcx_service"
_SERVERS = {
    TRANSFER_SCOPE: _TRANSFER,
    COMPUTE_SCOPE: _COMPUTE,
    "openid": _AUTH,
    "profile": _AUTH,
    "email": _AUTH,
    f"urn:globus:auth:scope:{_AUTH}:view_identity_set": _AUTH,
    f"urn:globus:auth:scope:{_AUTH}:view_identities": _AUTH,
    f"urn:globus:auth:scope:{_AUTH}:view_consents": _AUTH,
    f"urn:globus:auth:scope:{_AUTH}:manage_projects": _AUTH,
}


def data_access_scope(collection_id: str) -> str:
    """The scope of a mapped collection that `GCSCollectionScopes` of the SDK builds."""
    return f"https://auth.globus.org/scopes/{collection_id}/data_access"


def parse_scopes(text: str) -> dict[str, str]:
    """Scopes with what stands in their brackets: ``a[*b c] d`` gives ``{"a": "*b c", "d": ""}``."""
    found: dict[str, str] = {}
    name, inside, depth = "", "", 0
    for letter in text.strip() + " ":
        depth -= letter == "]" and depth > 0
        if depth:
            inside += letter
        elif letter == " " and name:
            found[name.lstrip("*")], name, inside = inside, "", ""
        elif letter not in "[] ":
            name += letter
        depth += letter == "["
    if depth:
        raise OAuthError(400, "invalid_scope", f"the scope {text!r} has a bracket that is not closed")
    return found


class Tokens:
    """Tokens in the store. Each belongs to one client and one person, and to one resource server."""

    def __init__(self, store: Store, behaviour: Callable[[], Behaviour]) -> None:
        self._store, self._behaviour = store, behaviour

    def grant(self, client_id: str, sub: str, scope: str, *, refreshable: bool = False) -> Document:
        """The answer to a granted request (``oauth2_client_credentials_tokens`` of the SDK's test data)."""
        scopes = parse_scopes(scope)
        unknown = [name for name in scopes if name not in _SERVERS]
        if unknown or not scopes:
            raise OAuthError(400, "unknown_scope_error", f"unknown scopes {unknown}")
        self._consent(sub, scopes)
        servers = sorted({_SERVERS[name] for name in scopes}, reverse=True)
        grants = [
            self._one(client_id, sub, [name for name in scopes if _SERVERS[name] == server], refreshable)
            for server in servers
        ]
        return {**grants[0], "other_tokens": grants[1:]}

    def _one(self, client_id: str, sub: str, scopes: list[str], refreshable: bool) -> Document:
        lifetime = self._behaviour().token_lifetime_s
        common = {
            "client_id": client_id,
            "sub": sub,
            "scope": " ".join(scopes),
            "resource_server": _SERVERS[scopes[0]],
        }
        access = "Ag" + secrets.token_urlsafe(32)
        now = time.time()
        self._store.put("token", access, {**common, "key": access, "iat": now, "exp": now + lifetime})
        answer: Document = {
            "access_token": access,
            "scope": common["scope"],
            "expires_in": lifetime,
            "token_type": "Bearer",
            "resource_server": common["resource_server"],
        }
        if refreshable:
            answer["refresh_token"] = "Ag" + secrets.token_urlsafe(32)
            self._store.put("refresh", answer["refresh_token"], {**common, "key": answer["refresh_token"]})
        return answer

    def refresh(self, client_id: str, refresh_token: str) -> Document:
        """A new access token for a refresh token; the refresh token stays as it is."""
        known = self._store.get("refresh", refresh_token)
        if known is None or known["client_id"] != client_id:
            raise OAuthError(400, "invalid_grant", "the refresh token is not valid")
        answer = self._one(client_id, known["sub"], known["scope"].split(), refreshable=False)
        return {**answer, "refresh_token": refresh_token, "other_tokens": []}

    def find(self, token: str | None) -> Document | None:
        """An access token that is still good, or None."""
        known = self._store.get("token", token) if token else None
        return known if known is not None and known["exp"] > time.time() else None

    def for_transfer(self, authorization: str | None) -> Document:
        """The token in a header, good for Globus Transfer, see `for_service`."""
        return self.for_service(_TRANSFER, authorization)

    def for_compute(self, authorization: str | None) -> Document:
        """The token in a header, good for Globus Compute, see `for_service`."""
        return self.for_service(_COMPUTE, authorization)

    def for_service(self, server: str, authorization: str | None) -> Document:
        """The token in a header ``Authorization: Bearer ...``, good for one resource server.

        Raises
        ------
        ApiError
            ``AuthenticationFailed``: none, not known, expired, revoked, or for another service.
        """
        kind, _, value = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not value:
            raise ApiError(401, "AuthenticationFailed", "No credentials supplied")
        known = self.find(value.strip())
        if known is None:
            raise ApiError(401, "AuthenticationFailed", "Token is not active")
        if known["resource_server"] != server:
            raise ApiError(401, "AuthenticationFailed", "Token is not valid for this service")
        return known

    def revoke(self, token: str) -> None:
        """Forget one token; harmless when it is not known (RFC 7009)."""
        self._store.remove("token", token)
        self._store.remove("refresh", token)

    def revoke_all(self, *, refresh: bool) -> None:
        """Forget every access token, and with `refresh` every refresh token."""
        self._store.remove("token")
        if refresh:
            self._store.remove("refresh")

    def _consent(self, sub: str, scopes: dict[str, str]) -> None:
        for inner in parse_scopes(scopes.get(TRANSFER_SCOPE, "")):
            self._store.put("consent", f"{sub} {inner}", {"sub": sub, "scope": inner})

    def has_consent(self, sub: str, collection_id: str) -> bool:
        """Whether a person has given the consent ``data_access`` for a collection."""
        return self._store.get("consent", f"{sub} {data_access_scope(collection_id)}") is not None

    def forget_consents(self) -> None:
        """Withdraw every consent."""
        self._store.remove("consent")
