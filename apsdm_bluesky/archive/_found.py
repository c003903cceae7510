"""Which bundles there are, as the manifests at a destination and in the local folder tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from apsdm_bluesky.durable import make_folder, sync
from apsdm_bluesky.errors import FormatError, StorageError
from apsdm_bluesky.transfer import RemoteFile, Transfer

from ._bundle import MANIFEST_SUFFIX, manifest_path
from ._fetch import fetch
from ._manifest import LARGEST, read_manifest
from ._names import printable
from ._told import ToldBundle, tell


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBundle:
    """A bundle that a manifest tells of.

    Parameters
    ----------
    source
        Where the manifest is.
    tar, manifest
        What the destination has in their places; None: nothing.
    residency
        Where the destination says that the tar lies.
    local
        The folder of local bundles, where it has the tar in its right size and the manifest; else None.
    """

    told: ToldBundle
    source: str
    tar: RemoteFile | None
    manifest: RemoteFile | None
    residency: str = "unknown"
    local: Path | None = None


@dataclass(slots=True, kw_only=True)
class Findings:
    """What was found, and what is wrong with it, a line each.

    Parameters
    ----------
    tars
        At the destination, without a manifest that can be used.
    refused
        Manifests that cannot be used.
    differing
        Manifests at the destination that the local folder has with other content; the former count.
    """

    bundles: list[FoundBundle] = field(default_factory=list)
    tars: list[RemoteFile] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)


class Finder:
    """Looks for the bundles of one destination.

    Parameters
    ----------
    prefix
        First part of the bundles' paths at the destination.
    local
        The folder of local bundles.
    scratch
        A folder for what is fetched.
    roots
        The folders of raw data.
    keep
        Whether what is fetched stays in `local`, where nothing has its name: whoever wants the manifest next
        need not wait for the tape.
    """

    def __init__(
        self,
        transfer: Transfer,
        prefix: str,
        *,
        local: Path,
        scratch: Path,
        roots: Sequence[Path],
        keep: bool,
    ) -> None:
        self._transfer = transfer
        self._prefix = prefix
        self._local = local
        self._scratch = scratch
        self._roots = roots
        self._keep = keep

    def find(self) -> Findings:
        """All bundles, in the order of their paths.

        A manifest is fetched unless the local folder has one of its name and size: both are compared when the
        bundle is verified.

        Raises
        ------
        ServiceError, StorageError
            The destination cannot be asked, or a folder not be read.
        """
        findings = Findings()
        there = {file.path: file for file in self._transfer.list_files(self._prefix)}
        here = self._here(findings)
        fetched = self._fetched(there, here, findings)
        for path in sorted(fetched.keys() & here.keys()):
            if fetched[path].manifest_sha256 != here[path].manifest_sha256:
                findings.differing.append(f"{path}: is not what {self._local} has under its name")
        for path, told in sorted((here | fetched).items()):
            source = (
                f"{self._transfer.collection}:{path}" if path in fetched else str(self._place(told, ".json"))
            )
            findings.bundles.append(self._found(told, source, there, is_local=path not in fetched))
        known = {bundle.told.path for bundle in findings.bundles}
        findings.tars += [
            file for path, file in sorted(there.items()) if path.endswith(".tar") and path not in known
        ]
        return findings

    def _here(self, findings: Findings) -> dict[str, ToldBundle]:
        """By the path at the destination."""
        here = {}
        for place in sorted(self._local.glob(f"*{MANIFEST_SUFFIX}")):
            told = self._read(place, str(place), findings)
            if told is not None and told.collection == self._transfer.collection:
                here[manifest_path(told.path)] = told
        return here

    def _fetched(
        self, there: Mapping[str, RemoteFile], here: Mapping[str, ToldBundle], findings: Findings
    ) -> dict[str, ToldBundle]:
        """Those that the local folder does not have in the same size, by the path at the destination."""
        wanted = []
        for path, file in sorted(there.items()):
            if not path.endswith(MANIFEST_SUFFIX):
                continue
            if file.size > LARGEST:
                findings.refused.append(f"{printable(path)}: {file.size} bytes are too many for a manifest")
            elif path not in here or here[path].manifest_size != file.size:
                wanted.append(file)
        places, faults = fetch(self._transfer, wanted, self._scratch)
        findings.refused += [f"{printable(path)}: {printable(why, 500)}" for path, why in faults.items()]
        taken = {}
        for path, place in places.items():
            told = self._read(place, path, findings)
            if told is not None and self._is_in_place(told, path, findings):
                taken[path] = told
                self._keep_copy(place, told)
        return taken

    def _keep_copy(self, place: Path, told: ToldBundle) -> None:
        target = self._place(told, ".json")
        if self._keep and not target.exists():
            make_folder(self._local)
            sync(place)
            place.replace(target)
            sync(self._local)

    def _read(self, place: Path, name: str, findings: Findings) -> ToldBundle | None:
        try:
            manifest, data = read_manifest(place)
            return tell(manifest, data, self._roots)
        except FormatError as error:
            findings.refused.append(f"{printable(name)}: {error}")
        except OSError as error:
            raise StorageError(f"{error.filename}: {error.strerror}; give access to it") from error
        return None

    def _is_in_place(self, told: ToldBundle, path: str, findings: Findings) -> bool:
        """Whether a manifest stands where it says that it belongs; copies of it elsewhere do not count."""
        if (self._transfer.collection, path) == (told.collection, manifest_path(told.path)):
            return True
        findings.refused.append(f"{printable(path)}: belongs to {told.collection}:{told.path}")
        return False

    def _found(
        self, told: ToldBundle, source: str, there: Mapping[str, RemoteFile], *, is_local: bool
    ) -> FoundBundle:
        found = FoundBundle(
            told=told, source=source, tar=there.get(told.path), manifest=there.get(manifest_path(told.path))
        )
        if found.tar is not None:
            found = replace(found, residency=self._transfer.residency(told.path).value)
        tar = self._place(told, ".tar")
        whole = is_local and tar.is_file() and tar.stat().st_size == told.size
        return replace(found, local=self._local) if whole else found

    def _place(self, told: ToldBundle, suffix: str) -> Path:
        name = Path(told.path).name
        return self._local / (name if suffix == ".tar" else manifest_path(name))
