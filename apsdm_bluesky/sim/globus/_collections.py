"""The two collections: their paths, quota, policies, and the disk and tape tiers of the second one."""

import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._errors import ApiError, bad_request
from ._store import Document, Store

__all__ = ["NO_POLICY", "Collection", "Collections", "check_path", "file_digest"]

_BLOCK_BYTES = 1 << 20
_NAME_BYTES, _PATH_BYTES = 255, 4096  # Linux: NAME_MAX, PATH_MAX
_HOME = re.compile(r"^/?~(?=/|$)")
NO_POLICY: Document = {
    "quota_bytes": None,
    "consent": False,
    "session_domains": None,
    "pause": None,
    "credentials_expired": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A folder that is served under an id. `tape`: files leave its disk, and reading them waits."""

    id: str
    name: str
    root: Path
    tape: bool

    def resolve(self, path: object) -> Path:
        """The file behind a collection path such as ``/a/b`` or ``/~/a``.

        Raises
        ------
        ApiError
            It is no path, or leads out of the collection: ``EndpointPermissionDenied`` as in the SDK's
            ``operation_stat`` test data.
        """
        parts = check_path(path).strip("/").split("/")
        target = self.root.joinpath(*(part for part in parts if part not in ("", ".")))
        if ".." in parts or not self._holds(target):
            raise ApiError(403, "EndpointPermissionDenied", self.ftp_error(path, "Path not allowed."))
        return target

    def _holds(self, target: Path) -> bool:
        """Whether it is below the root when links are followed."""
        try:
            return target.resolve().is_relative_to(self.root)
        except RuntimeError:  # links in a circle, before Python 3.13
            return False

    def key(self, target: Path) -> str:
        """The collection path of a file below the root, in one form only."""
        return "/" + target.relative_to(self.root).as_posix()

    def ftp_error(self, path: object, details: str) -> str:
        """A message that names the collection, the path and what its server said."""
        return (
            f"Error (list)\nEndpoint: {self.name} ({self.id})\nServer: 127.0.0.1\nCommand: {path}\n"
            f"Message: Fatal FTP Response\n---\nDetails: 500 Command failed : {details}\n"
        )

    def used_bytes(self) -> int:
        """Size of all its files."""
        return sum(found.stat().st_size for found in self.root.rglob("*") if found.is_file())


def check_path(path: object) -> str:
    """An absolute path below the root, without ``~``. Control characters and relative paths are refused."""
    if not isinstance(path, str) or not path:
        raise bad_request(f"a path must be a string that is not empty, not {path!r}")
    try:
        names = path.encode().split(b"/")
    except UnicodeEncodeError as error:
        raise ApiError(400, "InvalidPath", f"the path {path!r} has half a character") from error
    if "\0" in path or "\n" in path or "\r" in path:
        raise ApiError(400, "InvalidPath", f"the path {path!r} has a character that is not allowed")
    if len(path.encode()) > _PATH_BYTES or any(len(name) > _NAME_BYTES for name in names):
        raise ApiError(400, "InvalidPath", f"the path {path[:40]!r}... is too long")
    absolute = _HOME.sub("", path) or "/"
    if not absolute.startswith("/"):
        raise bad_request(f"the path {path!r} must start with / or /~/")
    return absolute


def file_digest(path: Path, algorithm: str) -> str:
    """Checksum of a file's bytes, in hexadecimal."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


class Collections:
    """The collections of one stand-in, with what the store knows of them."""

    def __init__(self, store: Store, collections: dict[str, Collection]) -> None:
        self._store = store
        self.by_name = collections
        self.by_id = {collection.id: collection for collection in collections.values()}

    def get(self, endpoint_id: object) -> Collection:
        """By its id.

        Raises
        ------
        ApiError
            ``EndpointNotFound``, as in the SDK's ``set_subscription_id`` test data.
        """
        found = self.by_id.get(str(endpoint_id))
        if found is None:
            raise ApiError(404, "EndpointNotFound", f"No such endpoint '{endpoint_id}'")
        return found

    def policy(self, collection: Collection) -> Document:
        """Quota, consent, session, pause and credentials of a collection."""
        return {**NO_POLICY, **(self._store.get("policy", collection.id) or {})}

    def set_policy(self, collection: Collection, **changes: Any) -> None:
        """Change some of them."""
        with self._store.transaction():
            self._store.put("policy", collection.id, {**self.policy(collection), **changes})

    # The tiers. A file on tape has `migrate_at` in the past and no `staged_at` since.

    def written(self, collection: Collection, target: Path, md5: str, migration_s: float | None) -> None:
        """Note a file that a transfer wrote to a tape collection."""
        migrate_at = None if migration_s is None else time.time() + migration_s
        body = {"path": collection.key(target), "md5": md5, "migrate_at": migrate_at}
        self._put(collection, target, body)

    def migrate(self, collection: Collection, target: Path) -> None:
        """Move a file to tape now, off the disk tier."""
        body = {**self._tape_file(collection, target), "migrate_at": 0.0}
        self._put(collection, target, {**body, "staged": False, "staging_since": None})

    def stage(self, collection: Collection, target: Path) -> None:
        """Bring a file back to the disk tier."""
        self._put(collection, target, {**self._tape_file(collection, target), "staged": True})

    def renamed(self, collection: Collection, old: Path, new: Path) -> None:
        """A file keeps its tier and its stored checksum under its new name."""
        with self._store.transaction():
            body = self._store.get("tape", self._tape_key(collection, old))
            if body is not None:
                self._store.remove("tape", self._tape_key(collection, old))
                self._put(collection, new, {**body, "path": collection.key(new)})

    def residency(self, collection: Collection, target: Path) -> str:
        """``disk`` or ``tape``. Globus does not tell it; only the stand-in's owner may ask."""
        body = self._tape_file(collection, target)
        migrate_at = body.get("migrate_at")
        on_tape = migrate_at is not None and migrate_at <= time.time() and not body.get("staged")
        return "tape" if collection.tape and on_tape else "disk"

    def wants_staging(self, collection: Collection, target: Path, staging_s: float | None) -> bool:
        """Whether a read must wait; the first call that finds the file on tape starts its staging."""
        with self._store.transaction():
            if self.residency(collection, target) == "disk":
                return False
            body = self._tape_file(collection, target)
            since = body.get("staging_since") or time.time()
            if staging_s is not None and time.time() >= since + staging_s:
                self.stage(collection, target)
                return False
            self._put(collection, target, {**body, "staging_since": since})
            return True

    def checksum(self, collection: Collection, target: Path, algorithm: str, *, stored: bool) -> str:
        """The collection's own answer: on tape always MD5, and the stored one if `stored`."""
        if not collection.tape:
            return file_digest(target, algorithm)
        md5 = self._tape_file(collection, target).get("md5") if stored else None
        return str(md5) if md5 else file_digest(target, "md5")

    def _tape_file(self, collection: Collection, target: Path) -> Document:
        return self._store.get("tape", self._tape_key(collection, target)) or {"path": collection.key(target)}

    def _put(self, collection: Collection, target: Path, body: Document) -> None:
        self._store.put("tape", self._tape_key(collection, target), body)

    @staticmethod
    def _tape_key(collection: Collection, target: Path) -> str:
        return f"{collection.id}:{collection.key(target)}"
