"""The key that signs ID tokens."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ._identity import write_private

__all__ = ["SigningKey"]


class SigningKey:
    """The RSA key that signs ID tokens; made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "signing-key.pem"

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        if not self._path.exists():
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            pem = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            write_private(self._path, key.private_bytes(serialization.Encoding.PEM, *pem))
        loaded = serialization.load_pem_private_key(self._path.read_bytes(), password=None)
        if not isinstance(loaded, rsa.RSAPrivateKey):
            raise TypeError(f"{self._path}: holds no RSA key")
        return loaded

    def sign(self, claims: dict[str, Any]) -> str:
        """A JSON web token (RFC 7519), RS256."""
        return jwt.encode(claims, self._key, algorithm="RS256")

    def jwks(self) -> dict[str, Any]:
        """The public key as a set of one (RFC 7517)."""
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key()))
        return {"keys": [{**key, "alg": "RS256", "use": "sig", "kid": "standin"}]}
