"""Who the stand-in is: clients, collections and secrets, made at its first start in private files."""

import json
import os
import secrets
import uuid
from functools import cached_property
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import BaseModel, ConfigDict

__all__ = ["Identity", "SigningKey", "load_identity"]


class Identity(BaseModel):
    """Ids and secrets. `client_*` is the service account, `native_client_id` an app for people."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    client_id: str
    client_secret: str
    native_client_id: str
    user_id: str
    username: str
    control_token: str
    collections: dict[str, str]

    def person(self, sub: str) -> dict[str, str]:
        """Name and id of the service account or of the user (docs.globus.org: a client's username)."""
        username = self.username if sub == self.user_id else f"{sub}@clients.auth.globus.org"
        return {"sub": sub, "username": username}


def load_identity(folder: Path) -> Identity:
    """Read the identity of this folder, or make one."""
    path = folder / "identity.json"
    if not path.exists():
        write_private(path, _fresh().model_dump_json().encode())
    return Identity.model_validate_json(path.read_bytes())


def _fresh() -> Identity:
    return Identity(
        client_id=str(uuid.uuid4()),
        client_secret=secrets.token_urlsafe(32),
        native_client_id=str(uuid.uuid4()),
        user_id=str(uuid.uuid4()),
        username="beamline@example.org",
        control_token=secrets.token_urlsafe(32),
        collections={"local": str(uuid.uuid4()), "tape": str(uuid.uuid4())},
    )


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 at once, so that a kill leaves none or all of it."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


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
