"""The manifests of bundles, which stay on this side when the bundles go."""

import hashlib
from pathlib import Path

from apsdm_bluesky.durable import make_folder
from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.model import Manifest
from apsdm_bluesky.spool import write_durably

from ._bundle import manifest_path
from ._manifest import decode_manifest
from ._record import Record


class Manifests:
    """Those in the archive's folder, beside where the bundles were made."""

    def __init__(self, archive: Path) -> None:
        self._folder = archive / "bundles"

    def read(self, record: Record) -> Manifest | None:
        """The manifest of a bundle; None where it is not here as its record says."""
        path = self._path(record)
        try:
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() == record.manifest_sha256:
                return decode_manifest(data)
        except (OSError, FormatError):  # it is fetched, and put in this one's place
            return None
        return None

    def keep(self, record: Record, data: bytes) -> None:
        """Put the manifest of a bundle here."""
        make_folder(self._folder)
        write_durably(self._path(record), data)

    def _path(self, record: Record) -> Path:
        return self._folder / manifest_path(Path(str(record.destination)).name)
