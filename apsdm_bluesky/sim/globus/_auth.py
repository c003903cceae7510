"""Routes of Globus Auth: what the SDK's ClientApp and UserApp call."""

import base64
import binascii
import hashlib
import secrets
import time
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from ._errors import OAuthError
from ._identity import Identity
from ._signing import SigningKey
from ._store import Document, Store
from ._tokens import Tokens, parse_scopes

__all__ = ["AuthRoutes"]

_CODE_LIFETIME_S = 600.0


class AuthRoutes:
    """OAuth 2 (RFC 6749, 7009, 7636, 7662) as Globus Auth has it below ``/v2/oauth2``."""

    def __init__(self, store: Store, tokens: Tokens, identity: Identity, key: SigningKey) -> None:
        self._store, self._tokens, self._identity, self._key = store, tokens, identity, key
        self._grants = {
            "client_credentials": self._client_credentials,
            "refresh_token": self._refresh_token,
            "authorization_code": self._authorization_code,
        }

    async def token(self, request: Request) -> Response:
        """``POST /v2/oauth2/token``: three grants."""
        form, client_id = await self._client(request)
        grant = self._grants.get(form.get("grant_type", ""))
        if grant is None:
            raise OAuthError(400, "unsupported_grant_type", "use client_credentials, refresh_token or a code")
        return JSONResponse(self._with_id_token(grant(client_id, form), client_id, request))

    def _client_credentials(self, client_id: str, form: Mapping[str, str]) -> Document:
        if client_id != self._identity.client_id:
            raise OAuthError(401, "unauthorized_client", "this client has no secret")
        return self._tokens.grant(client_id, client_id, form.get("scope", ""))

    def _refresh_token(self, client_id: str, form: Mapping[str, str]) -> Document:
        return self._tokens.refresh(client_id, form.get("refresh_token", ""))

    def _authorization_code(self, client_id: str, form: Mapping[str, str]) -> Document:
        code = form.get("code", "")
        with self._store.transaction():
            known = self._store.get("code", code)
            self._store.remove("code", code)  # good for one use
        if known is None or known["client_id"] != client_id or time.time() > known["exp"]:
            raise OAuthError(401, "invalid_grant", "the authorization code is not valid")
        _check_challenge(known, form.get("code_verifier", ""))
        return self._tokens.grant(client_id, known["sub"], known["scope"], refreshable=known["offline"])

    def _with_id_token(self, grant: Document, client_id: str, request: Request) -> Document:
        """Add the ID token of OpenID Connect when it was asked for."""
        for part in (grant, *grant.get("other_tokens", ())):
            if "openid" in part["scope"].split():
                token = self._store.get("token", part["access_token"]) or {}
                claims = {**self._profile(token["sub"]), "aud": client_id, "iss": _issuer(request)}
                now = int(time.time())
                grant["id_token"] = self._key.sign({**claims, "iat": now, "exp": now + part["expires_in"]})
        return grant

    def _profile(self, sub: str) -> Document:
        person = self._identity.person(sub)
        username = person["username"]
        return {"sub": sub, "preferred_username": username, "name": username, "email": username}

    async def revoke(self, request: Request) -> Response:
        """``POST /v2/oauth2/token/revoke``."""
        form, _ = await self._client(request)
        self._tokens.revoke(form.get("token", ""))
        return JSONResponse({"active": False})

    async def introspect(self, request: Request) -> Response:
        """``POST /v2/oauth2/token/introspect``; keys of the SDK's test data."""
        form, _ = await self._client(request)
        token = self._tokens.find(form.get("token"))
        if token is None:
            return JSONResponse({"active": False})
        person = self._identity.person(token["sub"])
        times = {"exp": int(token["exp"]), "iat": int(token["iat"]), "nbf": int(token["iat"])}
        body = {"active": True, "token_type": "Bearer", "iss": _issuer(request), **times}
        body |= {"scope": token["scope"], "client_id": token["client_id"], "sub": token["sub"]}
        body |= {"username": person["username"], "name": person["username"], "email": person["username"]}
        return JSONResponse({**body, "aud": [token["resource_server"], token["client_id"]]})

    async def userinfo(self, request: Request) -> Response:
        """``GET /v2/oauth2/userinfo`` for a token with the scope openid."""
        _, _, value = request.headers.get("authorization", "").partition(" ")
        token = self._tokens.find(value)
        if token is None:
            raise OAuthError(401, "unauthorized", "Call must be authenticated")
        if "openid" not in token["scope"].split():
            raise OAuthError(403, "forbidden", "the token has not the scope openid")
        return JSONResponse(self._profile(token["sub"]))

    async def authorize(self, request: Request) -> Response:
        """``GET /v2/oauth2/authorize``: the user agrees at once, and the answer leads back with a code."""
        query = request.query_params
        if query.get("client_id") not in (self._identity.client_id, self._identity.native_client_id):
            raise OAuthError(400, "invalid_client", "unknown client")
        parse_scopes(query.get("scope", ""))
        code = secrets.token_urlsafe(24)
        known = {name: query.get(name) for name in ("client_id", "scope", "code_challenge", "redirect_uri")}
        offline = query.get("access_type") == "offline"
        expires = time.time() + _CODE_LIFETIME_S
        body = {**known, "sub": self._identity.user_id, "offline": offline, "exp": expires}
        self._store.put("code", code, body)
        reply = urlencode({"code": code, "state": query.get("state", "")})
        return RedirectResponse(f"{query.get('redirect_uri', '')}?{reply}", status_code=302)

    async def configuration(self, request: Request) -> Response:
        """``GET /.well-known/openid-configuration`` (OpenID Connect Discovery)."""
        base = _issuer(request)
        ends = {"authorization": "authorize", "token": "token", "userinfo": "userinfo"}
        body = {f"{name}_endpoint": f"{base}/v2/oauth2/{path}" for name, path in ends.items()}
        algorithms = {"id_token_signing_alg_values_supported": ["RS256"]}
        return JSONResponse({"issuer": base, "jwks_uri": f"{base}/jwk.json", **body, **algorithms})

    async def jwks(self, _request: Request) -> Response:
        """``GET /jwk.json``: the key that checks ID tokens."""
        return JSONResponse(self._key.jwks())

    async def _client(self, request: Request) -> tuple[Mapping[str, str], str]:
        """The form and the client that sent it; an app without a secret names itself in the form."""
        form = dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))
        client_id, secret = _basic(request.headers.get("authorization", ""))
        if client_id is None:
            client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        self._check_client(client_id, secret)
        return form, client_id

    def _check_client(self, client_id: str, secret: str) -> None:
        own = self._identity
        native = client_id == own.native_client_id
        service = client_id == own.client_id and secrets.compare_digest(
            secret.encode(), own.client_secret.encode()
        )
        if self._store.get("deleted", client_id) or not (native or service):
            raise OAuthError(401, "invalid_client", "unknown client, or wrong secret")


def _basic(header: str) -> tuple[str | None, str]:
    kind, _, value = header.partition(" ")
    if kind.lower() != "basic":
        return None, ""
    try:
        client_id, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise OAuthError(401, "invalid_client", "the header Authorization is malformed") from error
    return client_id, secret


def _check_challenge(known: Document, verifier: str) -> None:
    """PKCE, RFC 7636 section 4.6."""
    if known["code_challenge"] is None:
        return
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    if not secrets.compare_digest(digest, known["code_challenge"].rstrip("=").encode()):
        raise OAuthError(401, "invalid_grant", "the code verifier does not fit")


def _issuer(request: Request) -> str:
    return str(request.base_url).rstrip("/")
