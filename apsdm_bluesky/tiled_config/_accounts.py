"""Tiled's database of who may do what: roles, the service that our own processes act as, logins of people.

Each function opens the file for itself; a server may run on it.
"""

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

from apsdm_bluesky.config import StateFolders
from apsdm_bluesky.errors import StorageError

from ._passwords import SERVICE_NAME

# Reading, and keys of one's own for it. Data rules may narrow it; writing is for the beamline's own processes.
_PERSON_SCOPES = ["read:metadata", "read:data", "create:apikeys", "revoke:apikeys"]
_SERVICE = ("service", SERVICE_NAME)
_KEY_NOTE = "the file api_key in the state folder"


def accounts_file(folders: StateFolders) -> Path:
    """Where the database lies."""
    return folders.catalog / "accounts.db"


def prepare_accounts(folders: StateFolders, provider: str, key: str) -> dict[str, Any]:
    """Make the database, or bring it up to date: before each start of the server.

    The service whose key is in the file `api_key` may do everything; people may read. Logins through another
    provider than `provider` end: the same name may be somebody else there.

    Returns
    -------
    dict
        The claims of a token for that service, as Tiled makes them, without an end.

    Raises
    ------
    StorageError
        The file cannot be used.
    """
    from tiled.alembic_utils import upgrade
    from tiled.authn_database.alembic_constants import ALEMBIC_DIR, ALEMBIC_INI_TEMPLATE_PATH

    path = accounts_file(folders)
    with _faults_told(path):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(path)) as database:
            # Tiled notes each key's last use: who reads does not wait for that.
            database.execute("PRAGMA journal_mode=WAL")
        state = _run(path, _revision)
        if state == "new":
            asyncio.run(_create(path))
        elif state == "old":
            upgrade(ALEMBIC_INI_TEMPLATE_PATH, ALEMBIC_DIR, f"sqlite+aiosqlite:///{path}", "head")
        claims: dict[str, Any] = _run(path, lambda db: _set_up(db, provider, key))
        return claims


def forget_person(folders: StateFolders, provider: str, name: str) -> None:
    """End all sessions and API keys of a person, here and now; a token that is out lives for its last minutes.

    Raises
    ------
    StorageError
        The file cannot be used.
    """
    path = accounts_file(folders)
    if not path.exists():  # no server has run here: nobody has logged in
        return

    async def forget(db: Any) -> None:
        from tiled.authn_database.orm import Identity

        await _forget(db, await _all(db, Identity, Identity.provider == provider, Identity.id == name))

    with _faults_told(path):
        _run(path, forget)


@contextmanager
def _faults_told(path: Path) -> Iterator[None]:
    from sqlalchemy.exc import DBAPIError
    from tiled.alembic_utils import UnrecognizedDatabase

    try:
        yield
    except (OSError, sqlite3.Error, DBAPIError, UnrecognizedDatabase) as error:
        reason = getattr(error, "orig", None) or getattr(error, "strerror", None) or error
        raise StorageError(
            f"{path}: cannot be used ({reason}); give permission there, or move the file away: people log in again"
        ) from error


def _run(path: Path, work: Callable[[Any], Awaitable[Any]]) -> Any:
    """One transaction."""

    async def run() -> Any:
        async with _opened(path) as db:
            result = await work(db)
            await db.commit()
            return result

    return asyncio.run(run())


@asynccontextmanager
async def _opened(path: Path) -> AsyncIterator[Any]:
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    try:
        async with AsyncSession(engine, expire_on_commit=False) as db:
            yield db
    finally:
        await engine.dispose()


async def _revision(db: Any) -> str:
    """'new', 'old' or 'current'. A database that was left between its making and its stamp is new."""
    from tiled.alembic_utils import get_current_revision
    from tiled.authn_database.core import ALL_REVISIONS, REQUIRED_REVISION

    revision = await get_current_revision(db.bind, ALL_REVISIONS)
    if revision is None:
        return "new"
    return "current" if revision == REQUIRED_REVISION else "old"


async def _create(path: Path) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine
    from tiled.authn_database.core import initialize_database

    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    try:
        await initialize_database(engine)
        async with engine.begin() as connection:
            await connection.run_sync(_stamp)
    finally:
        await engine.dispose()


def _stamp(connection: Any) -> None:
    """Mark the tables as those of the newest revision, as Tiled does in a process of its own."""
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from tiled.authn_database.alembic_constants import ALEMBIC_DIR

    MigrationContext.configure(connection).stamp(ScriptDirectory(ALEMBIC_DIR), "head")


async def _set_up(db: Any, provider: str, key: str) -> dict[str, Any]:
    from tiled.authn_database.orm import Identity, Role

    (role,) = await _all(db, Role, Role.name == "user")
    role.scopes = _PERSON_SCOPES
    await _forget(db, await _all(db, Identity, Identity.provider.not_in([provider, _SERVICE[0]])))
    service = await _service(db)
    if role not in service.roles:  # `admin` alone makes no keys, which Tiled's client needs to subscribe
        service.roles.append(role)
    await _give_key(db, service, bytes.fromhex(key))
    return {
        "sub": service.uuid.hex,
        "sub_typ": "service",
        "scp": sorted({scope for role in service.roles for scope in role.scopes}),
        "state": {},
        "ids": [{"id": _SERVICE[1], "idp": _SERVICE[0]}],
    }


async def _give_key(db: Any, service: Any, secret: bytes) -> None:
    """The service has the key of the file, and no other of that note."""
    from sqlalchemy import delete
    from tiled.authn_database.orm import APIKey

    digest = hashlib.sha256(secret).digest()
    own = (APIKey.principal_id == service.id) & (APIKey.note == _KEY_NOTE)
    await db.execute(delete(APIKey).where(own & (APIKey.hashed_secret != digest)))
    if not await _all(db, APIKey, APIKey.hashed_secret == digest):
        db.add(
            APIKey(
                principal_id=service.id,
                note=_KEY_NOTE,
                scopes=["inherit"],
                first_eight=secret.hex()[:8],
                hashed_secret=digest,
            )
        )


async def _service(db: Any) -> Any:
    from sqlalchemy.orm import selectinload
    from tiled.authn_database.core import create_service
    from tiled.authn_database.orm import Identity

    kind, name = _SERVICE
    known = Identity.principal
    for identity in await _all(
        db, Identity, Identity.provider == kind, Identity.id == name, options=[selectinload(known)]
    ):
        return identity.principal
    service = await create_service(db, "admin")
    db.add(Identity(provider=kind, id=name, principal_id=service.id))
    return service


async def _all(db: Any, table: Any, *conditions: Any, options: Iterable[Any] = ()) -> list[Any]:
    from sqlalchemy import select

    return list((await db.execute(select(table).where(*conditions).options(*options))).scalars().unique())


async def _forget(db: Any, identities: list[Any]) -> None:
    """Whoever has one of these identities, with all that gives access."""
    from sqlalchemy import delete
    from tiled.authn_database.orm import (
        APIKey,
        Identity,
        Principal,
        Session,
        principal_role_association_table,
    )

    whom = [identity.principal_id for identity in identities]
    roles = principal_role_association_table
    for table, column in (
        (APIKey, APIKey.principal_id),
        (Session, Session.principal_id),
        (Identity, Identity.principal_id),
        (roles, roles.c.principal_id),
        (Principal, Principal.id),
    ):
        await db.execute(delete(table).where(column.in_(whom)).execution_options(synchronize_session=False))
