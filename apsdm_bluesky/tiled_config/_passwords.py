"""The password file: people who may log in where no institute's directory does it."""

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock

from apsdm_bluesky.config import StateFolders
from apsdm_bluesky.durable import sync
from apsdm_bluesky.errors import ConfigError, StorageError

from ._key import private_text

# The name under which the owner of the API key acts.
SERVICE_NAME = "beamline"

_NAME = re.compile(r"[a-z][a-z0-9._-]{0,31}")
_SHORTEST, _LONGEST = 10, 256
_LOCK_TIMEOUT_S = 10.0

# One of the settings that OWASP's password storage cheat sheet gives for scrypt: 32 MiB, some tenths of a second.
_N, _R, _P = 2**15, 8, 3
_MAX_MEMORY = 2 * 128 * _N * _R
_SCHEME = f"scrypt-{_N}-{_R}-{_P}"
_RECORD = re.compile(rf"{_SCHEME}:(?P<salt>[0-9a-f]{{32}}):(?P<hash>[0-9a-f]{{64}})")


def is_name(name: str) -> bool:
    """Whether this can be a person's name: a lower-case letter, then up to 31 of a-z, 0-9, '.', '_', '-'."""
    return _NAME.fullmatch(name) is not None and name != SERVICE_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordFile:
    """Names and hashes of passwords, in a file of mode 0600. No file: nobody.

    Every call reads the file; each change replaces it as a whole.

    Parameters
    ----------
    path
        A JSON object: by name, the scheme, the salt and the scrypt hash.
    """

    path: Path

    @classmethod
    def of(cls, folders: StateFolders) -> "PasswordFile":
        """That of a beamline."""
        return cls(path=folders.catalog / "passwords.json")

    def names(self) -> list[str]:
        """Who may log in, sorted. Raises ConfigError or StorageError as every method."""
        return sorted(self._read())

    def accepts(self, name: str, password: str) -> bool:
        """Whether this is the password of `name`. An unknown name takes the same time.

        Raises
        ------
        ConfigError
            Others may read the file, or it is damaged.
        StorageError
            It cannot be read.
        """
        record = self._read().get(name)
        salt, known = record or (bytes(16), bytes(32))
        same = hmac.compare_digest(_hash(password, salt), known)
        return same and record is not None

    def add(self, name: str, password: str) -> None:
        """A new person. Raises ConfigError also where the name or password cannot be, or is there already."""
        if not is_name(name):
            raise ConfigError(
                f"{name!r}: no name for a person; a lower-case letter, then up to 31 of a-z, 0-9, '.', '_', '-', "
                f"and not {SERVICE_NAME!r}"
            )
        record = _record(password)
        with self._changed() as people:
            if name in people:
                raise ConfigError(f"{name}: may log in already; for a new password: apsdm user password {name}")
            people[name] = record

    def change(self, name: str, password: str) -> None:
        """Another password for somebody who is there."""
        record = _record(password)
        with self._changed() as people:
            self._refuse_unknown(name, people)
            people[name] = record

    def remove(self, name: str) -> None:
        """Somebody who may log in no more."""
        with self._changed() as people:
            self._refuse_unknown(name, people)
            del people[name]

    def _refuse_unknown(self, name: str, people: dict[str, tuple[bytes, bytes]]) -> None:
        if name not in people:
            raise ConfigError(f"{name!r}: nobody of this name in {self.path}; see 'apsdm user ls'")

    def _read(self) -> dict[str, tuple[bytes, bytes]]:
        try:
            content = json.loads(private_text(self.path))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StorageError(f"{self.path}: {error.strerror}; give this account permission there") from error
        except (ValueError, RecursionError) as error:
            raise self._damaged("is no JSON") from error
        if not isinstance(content, dict):
            raise self._damaged("is no JSON object")
        return {name: self._parsed(name, record) for name, record in content.items()}

    def _parsed(self, name: str, record: object) -> tuple[bytes, bytes]:
        match = _RECORD.fullmatch(record) if isinstance(record, str) else None
        if match is None or not is_name(name):
            raise self._damaged(f"the entry of {name[:40]!r} is not one of ours")
        return bytes.fromhex(match["salt"]), bytes.fromhex(match["hash"])

    def _damaged(self, what: str) -> ConfigError:
        return ConfigError(
            f"{self.path}: {what}; put a copy back, or remove the file and add people again with 'apsdm user add'"
        )

    @contextlib.contextmanager
    def _changed(self) -> Iterator[dict[str, tuple[bytes, bytes]]]:
        """The people, to be changed; others wait meanwhile."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(self.path.with_suffix(".lock"), timeout=_LOCK_TIMEOUT_S):
                people = self._read()
                yield people
                self._write(people)
        except OSError as error:  # filelock.Timeout is one, too
            reason = error.strerror or "another command keeps it locked"
            raise StorageError(f"{self.path}: {reason}; give this account permission there") from error

    def _write(self, people: dict[str, tuple[bytes, bytes]]) -> None:
        lines = {name: f"{_SCHEME}:{salt.hex()}:{digest.hex()}" for name, (salt, digest) in people.items()}
        temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "w") as file:
                json.dump(lines, file, indent=1)
                file.flush()
                os.fsync(fd)
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)
        sync(self.path.parent)


def _record(password: str) -> tuple[bytes, bytes]:
    if not (_SHORTEST <= len(password) <= _LONGEST and password.isprintable()):
        raise ConfigError(f"the password: {_SHORTEST} to {_LONGEST} printable characters are needed; choose another")
    salt = secrets.token_bytes(16)
    return salt, _hash(password, salt)


def _hash(password: str, salt: bytes) -> bytes:
    # A lone surrogate, as escapes in a request may bring it, is no text; it is hashed all the same.
    secret = password[:_LONGEST].encode("utf-8", errors="surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=_N, r=_R, p=_P, maxmem=_MAX_MEMORY, dklen=32)
