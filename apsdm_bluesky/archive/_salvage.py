"""The last resort: tars at a destination whose manifests are lost are fetched, and get new ones."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from apsdm_bluesky.durable import make_folder
from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.model import ArchivedRun, Manifest
from apsdm_bluesky.transfer import RemoteFile, Transfer

from ._bundle import manifest_path, write_manifest
from ._fetch import fetch, send
from ._found import FoundBundle
from ._manifest import encode_manifest, read_manifest
from ._names import printable
from ._tar_index import index_tar
from ._told import tell

_LATER_PART = re.compile(r"\.\d+of(?=\d+\.tar$)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvage:
    """Makes manifests of tars.

    Parameters
    ----------
    local
        The folder of local bundles: new manifests stay there, too.
    scratch
        Room for one tar.
    folders
        Where members belong on this machine, by the first part of their names.
    roots
        All folders of raw files, of which `folders` has one.
    dry_run
        Nothing is written but to `scratch`.
    """

    transfer: Transfer
    local: Path
    scratch: Path
    folders: Mapping[str, Path]
    roots: Sequence[Path]
    dry_run: bool

    def bundle(self, tar: RemoteFile) -> FoundBundle:
        """Fetch a tar, index it and put the manifest beside it at the destination.

        Where something stands there already it stays, and the bundle is found without a manifest.

        Raises
        ------
        FormatError
            It cannot be fetched, is cut short or is no bundle.
        ServiceError, OSError
            The mover does not answer; there is no space.
        """
        manifest = self._index(tar)
        data = encode_manifest(manifest)
        path = manifest_path(tar.path)
        local = self.local / Path(path).name
        there: RemoteFile | None = RemoteFile(path=path, size=len(data))
        if not self.dry_run:
            make_folder(self.local)
            write_manifest(self.local / manifest.bundle, manifest)
            if send(self.transfer, local, path):
                there = self.transfer.stat(path)
        return FoundBundle(
            told=tell(manifest, data, self.roots),
            source=str(local),
            tar=tar,
            manifest=there,
            residency=self.transfer.residency(tar.path).value,
        )

    def _index(self, tar: RemoteFile) -> Manifest:
        known = self._runs_of_first_part(tar.path)
        place = self._fetched(tar)
        try:
            index = index_tar(
                place,
                destination=tar.path,
                collection=self.transfer.collection,
                folders=self.folders,
                roots=self.roots,
                scratch=self.scratch,
                known=known,
                progress=lambda _: None,
            )
        finally:
            place.unlink(missing_ok=True)
        if index.cut:
            raise FormatError(f"{index.cut}; bring the whole tar there, then rebuild")
        return index.manifest

    def _runs_of_first_part(self, path: str) -> tuple[ArchivedRun, ...]:
        """Those of part 1 of 3, for part 2 of 3."""
        first = manifest_path(_LATER_PART.sub(".1of", path))
        if first == manifest_path(path):
            return ()
        local = self.local / Path(first).name
        if local.is_file():
            return read_manifest(local)[0].runs
        there = self.transfer.stat(first)
        if there is None:
            return ()
        place = self._fetched(there)
        try:
            return read_manifest(place)[0].runs
        finally:
            place.unlink(missing_ok=True)

    def _fetched(self, file: RemoteFile) -> Path:
        places, faults = fetch(self.transfer, [file], self.scratch)
        if faults:
            raise FormatError(printable(faults[file.path], 500))
        return places[file.path]
