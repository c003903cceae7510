"""A bundle's manifest, made again from its tar alone; of a tar that was cut short, of what is whole."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.model import ArchivedRun, BundleMember, Manifest

from ._documents import DocumentsInTar
from ._manifest import SCHEMA, TOOL
from ._manifest_check import check_manifest
from ._names import is_plain_path, printable
from ._tar_header import BLOCK, TarHeader, read_header

_CHUNK = 4 * 2**20
_NAME = re.compile(
    r"(?P<uid>[0-9A-Za-z][0-9A-Za-z_-]*)(\.(?P<part>\d{1,5})of(?P<parts>\d{1,5}))?\.tar", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TarIndex:
    """What a tar holds.

    Parameters
    ----------
    cut
        Where the tar ends too early, and in what; '' where it is whole. The manifest then tells of the
        members that are whole, and of the tar as it is.
    """

    manifest: Manifest
    cut: str


def index_tar(
    tar: Path,
    *,
    destination: str,
    collection: str,
    folders: Mapping[str, Path],
    roots: Sequence[Path] = (),
    scratch: Path,
    known: Sequence[ArchivedRun] = (),
    progress: Callable[[int], None],
) -> TarIndex:
    """Read a tar from its first byte to its last and tell what it holds.

    Parameters
    ----------
    destination, collection
        Where the tar belongs; the name there tells the first run, and which part it is.
    folders
        Where members came from, by the first part of their names: 'raw' and 'documents'. The tar does not
        tell it.
    roots
        Where raw files came from as well, if the documents say so.
    scratch
        A folder for documents, one file at a time.
    known
        The runs, for a part that has no documents: those of the first part.
    progress
        Gets the number of bytes read, chunk by chunk; what it raises ends the reading.

    Raises
    ------
    FormatError
        It is no bundle: a compressed file, links, other names, documents that are none.
    OSError
        The tar cannot be read, or `scratch` not written.
    """
    name = destination.rsplit("/", 1)[-1]
    match = _NAME.fullmatch(name)
    if match is None or not is_plain_path(destination):
        raise FormatError(f"{printable(destination)}: is no name of a bundle")
    with tar.open("rb") as file:
        walk = _Walk(file, name, progress)
        members = tuple(_member(header, sha256, folders) for header, sha256 in walk.members())
    documents = DocumentsInTar(tar, members, scratch, roots=roots, first=match["uid"])
    runs = documents.runs or tuple(known)
    if not runs:
        raise FormatError(f"{walk.cut or name}: holds no documents; bring its first part there")
    manifest = Manifest(
        schema=SCHEMA,
        tool=f"{TOOL}, from the tar",
        runs=runs,
        proposal=_text(runs[0].start.get("proposal")),
        esaf=_text(runs[0].start.get("esaf")),
        members=tuple(documents.described(member) for member in members),
        bundle=name,
        size=walk.size,
        sha256=walk.sha256.hexdigest(),
        md5=walk.md5.hexdigest(),
        part=int(match["part"] or 1),
        parts=int(match["parts"] or 1),
        collection=collection,
        path=destination,
    )
    check_manifest(manifest)
    return TarIndex(manifest=manifest, cut=walk.cut)


class _Walk:
    """Reads a tar once: digests of each member and of the whole."""

    def __init__(self, file: BinaryIO, name: str, progress: Callable[[int], None]) -> None:
        self._file = file
        self._name = name
        self._progress = progress
        self._position = 0
        self.size = os.fstat(file.fileno()).st_size
        self.sha256 = hashlib.sha256()
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.cut = ""

    def members(self) -> Iterator[tuple[TarHeader, str]]:
        """Each member that is whole, with its sha256; `cut` tells of one that is not."""
        count = 0
        while (header := self._header()) is not None:
            if header.offset + header.size > self.size:
                self.cut = f"{self._name}: ends at byte {self.size} in {printable(header.name)}"
                break
            self._read_to(header.offset)
            yield header, self._read_to(header.offset + header.size)
            self._read_to(min(-(-self._position // BLOCK) * BLOCK, self.size))
            count += 1
        self._read_to(self.size)
        if self.cut:
            self.cut += f"; the {count} members before are whole"

    def _header(self) -> TarHeader | None:
        """The next one; None at the end mark, which is two blocks of zeros, or where the tar is cut."""
        self._file.seek(self._position)
        if self._file.read(BLOCK) == bytes(BLOCK):
            self._check_end()
            return None
        try:
            return read_header(self._file, self._position)
        except FormatError as error:
            if self._file.tell() < self.size:
                raise FormatError(f"{self._name}: {error}") from error
            self.cut = f"{self._name}: ends at byte {self.size} without its end mark"
            return None

    def _check_end(self) -> None:
        if self.size - self._position < 2 * BLOCK:
            self.cut = f"{self._name}: ends at byte {self.size} in its end mark"
        self._file.seek(self._position)
        while chunk := self._file.read(_CHUNK):
            if chunk.count(0) != len(chunk):
                raise FormatError(f"{self._name}: something stands behind its end mark")

    def _read_to(self, end: int) -> str:
        """Feed what lies before `end` to the digests; returns its own sha256."""
        digest = hashlib.sha256()
        self._file.seek(self._position)
        while self._position < end:
            chunk = self._file.read(min(_CHUNK, end - self._position))
            if not chunk:
                raise FormatError(f"{self._name}: became shorter while it was read")
            for each in (digest, self.sha256, self.md5):
                each.update(chunk)
            self._position += len(chunk)
            self._progress(len(chunk))
        return digest.hexdigest()


def _member(header: TarHeader, sha256: str, folders: Mapping[str, Path]) -> BundleMember:
    kind, _, rest = header.name.partition("/")
    if kind not in folders or not is_plain_path(header.name, hidden=True) or not rest:
        raise FormatError(f"byte {header.offset}: {printable(header.name)!r} is no name of a bundle's member")
    return BundleMember(
        path=header.name,
        size=header.size,
        mtime_ns=0,
        sha256=sha256,
        offset=header.offset,
        source=str(folders[kind].resolve() / rest),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
