"""The beamline's own processes, in each of their requests.

With people, Tiled 0.2.20 reads an API key's rights from its database three times a request, which makes a small one
take three times as long. A token says the same by its signature: it takes the place of our key on the way in.
"""

import hmac
import time
from typing import Any

import jwt

_LIFE_S = 900.0
_LEAST_S = 300.0


class ServiceToken:
    """A token for the service that our API key belongs to.

    Parameters
    ----------
    key
        The API key.
    token_key
        What the server signs tokens with.
    claims
        Who the service is and what it may, as `prepare_accounts` tells.
    """

    def __init__(self, key: str, token_key: str, claims: dict[str, Any]) -> None:
        self._key = f"Apikey {key}".encode()
        self._token_key = token_key
        self._claims = claims
        self._token = b""
        self._ends = 0.0

    def for_key(self, authorization: bytes) -> bytes | None:
        """The header that says the same as the one with our key; None for any other header."""
        if not hmac.compare_digest(authorization, self._key):
            return None
        now = time.time()
        if self._ends - now < _LEAST_S:
            self._ends = now + _LIFE_S
            claims = {**self._claims, "type": "access", "exp": int(self._ends)}
            self._token = b"Bearer " + jwt.encode(claims, self._token_key, algorithm="HS256").encode()
        return self._token
