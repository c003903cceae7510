"""Who the stand-in is: clients, collections and secrets, made at its first start in private files."""

import os
import secrets
import uuid
from pathlib import Path

from pydantic import BaseModel, ConfigDict

__all__ = ["Identity", "load_identity", "write_private"]


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
    endpoint: str

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
        endpoint=str(uuid.uuid4()),
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
