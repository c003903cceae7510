"""Which run a document belongs to."""

from collections.abc import Mapping
from typing import Any

from apsdm_bluesky.errors import FormatError

# The document's key that names its owner, and what that owner is.
_OWNER = {
    "descriptor": ("run_start", "start"),
    "stop": ("run_start", "start"),
    "resource": ("run_start", "start"),
    "stream_resource": ("run_start", "start"),
    "event": ("descriptor", "descriptor"),
    "event_page": ("descriptor", "descriptor"),
    "stream_datum": ("descriptor", "descriptor"),
    "datum": ("resource", "resource"),
    "datum_page": ("resource", "resource"),
}


class Routes:
    """The open runs of a session and the uids of their descriptors and resources. Not thread-safe."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str], str] = {}

    def run_of(self, name: str, doc: Mapping[str, Any]) -> str:
        """The uid of the open run that `doc` belongs to.

        Raises
        ------
        FormatError
            The document's type is unknown, or what it refers to belongs to no open run.
        """
        if name not in _OWNER:
            raise FormatError(f"a document of the unknown type {name!r} is refused")
        key, kind = _OWNER[name]
        try:
            return self._runs[kind, doc[key]]
        except (KeyError, TypeError):
            raise FormatError(f"{name} document: its {key!r} ({doc.get(key)!r}) is of no open run") from None

    def add(self, name: str, doc: Mapping[str, Any], run_uid: str) -> None:
        """Learn what a document that was written introduces."""
        if name in ("start", "descriptor", "resource"):
            self._runs[name, doc["uid"]] = run_uid

    def forget(self, run_uid: str) -> None:
        """Drop everything about a run that has stopped."""
        self._runs = {key: owner for key, owner in self._runs.items() if owner != run_uid}
