"""Secrets in files that only their owner can read: the server's API key, what signs tokens, others' passwords."""

import os
import re
import secrets
import stat
from pathlib import Path

from apsdm_bluesky.config import StateFolders
from apsdm_bluesky.errors import ConfigError, StorageError

_KEY = re.compile(r"([0-9a-f]{2}){16,}", re.IGNORECASE)


def api_key(folders: StateFolders) -> str:
    """The key of the server in `folders.catalog`, made with mode 0600 when it is asked for the first time.

    Raises
    ------
    ConfigError
        Others may read or write the file, or it holds no key.
    StorageError
        The file cannot be written or read.
    """
    return _made_once(folders.catalog / "api_key", "API key")


def token_key(folders: StateFolders) -> str:
    """What the server signs tokens with, kept as the API key is. A new one ends all sessions.

    Raises
    ------
    ConfigError, StorageError
        As `api_key`.
    """
    return _made_once(folders.catalog / "token_key", "key for tokens")


def secret_of(path: Path | None, variable: str, key: str) -> str:
    """A secret that was given to us, from a file or else the environment.

    Parameters
    ----------
    key
        The configuration's key for `path`, for messages.

    Raises
    ------
    ConfigError
        Others may read the file, it cannot be read or is empty, or there is none.
    """
    if path is None:
        secret = os.environ.get(variable, "").strip()
    else:
        try:
            secret = private_text(path).strip()
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; {key} must hold the secret") from error
    if not secret:
        raise ConfigError(f"{key}: no secret there; put it into that file, mode 0600, or {variable}")
    return secret


def private_text(path: Path) -> str:
    """What stands in a file that is its owner's alone. OSError as `open` raises it."""
    with path.open(encoding="utf-8", errors="replace") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise ConfigError(f"{path}: others than its owner may use this file; run: chmod 600 {path}")
        return file.read()


def _made_once(path: Path, what: str) -> str:
    try:
        if not path.exists():
            _create(path)
        key = private_text(path).strip()
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}; give this account permission there") from error
    if _KEY.fullmatch(key) is None:
        raise ConfigError(
            f"{path}: holds no {what} (an even number of hex digits, 32 or more); remove it, and a new one is made"
        )
    return key


def _create(path: Path) -> None:
    """Under its name the file is always whole, and two processes that start at once agree on one key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(fd)
        os.link(temporary, path)
    except FileExistsError:
        return  # the other process was first: its key holds
    finally:
        temporary.unlink()
