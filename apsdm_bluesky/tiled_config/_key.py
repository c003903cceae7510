"""The server's API key, a file that only its owner can read."""

import os
import secrets
import stat
from pathlib import Path

from apsdm_bluesky.config import StateFolders
from apsdm_bluesky.errors import ConfigError, StorageError


def api_key(folders: StateFolders) -> str:
    """The key of the server in `folders.catalog`, made with mode 0600 when it is asked for the first time.

    Raises
    ------
    ConfigError
        Others may read or write the file, or it holds no key.
    StorageError
        The file cannot be written or read.
    """
    path = folders.catalog / "api_key"
    try:
        if not path.exists():
            _create(path)
        return _read(path)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}; give this account permission there") from error


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


def _read(path: Path) -> str:
    with path.open(encoding="ascii", errors="replace") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise ConfigError(f"{path}: others than its owner may use this key; run: chmod 600 {path}")
        key = file.read().strip()
    if not (key.isascii() and key.isalnum()):
        raise ConfigError(f"{path}: holds no API key (letters and digits); remove it, and a new one is made")
    return key
