"""An uncompressed PAX tar, the same byte for byte for the same members, hashed while it is written."""

import hashlib
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Self

from apsdm_bluesky.model import BundleMember

from ._digest import Digester
from ._sources import SourceFile

_CHUNK = 2**20


class SourceChangedError(Exception):
    """A file was changed between its listing and its bundling."""


class TarWriter:
    """Writes a new tar `path`; a context manager. Members carry no owner, mode 0644 and time 0.

    Parameters
    ----------
    progress
        Gets the number of bytes taken, chunk by chunk; what it raises ends the writing.
    """

    def __init__(self, path: Path, progress: Callable[[int], None]) -> None:
        self._file = path.open("xb")
        self._progress = progress
        self._sha256, self._md5, self._member = Digester("sha256"), Digester("md5"), Digester("sha256")
        self._gathered = bytearray()
        self.size = 0
        self.sha256 = self.md5 = ""  # of the whole tar, once it is finished

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        for digester in (self._sha256, self._md5, self._member):
            digester.close()

    def add(self, source: SourceFile) -> BundleMember:
        """Append a file of exactly `source.size` bytes.

        Raises
        ------
        SourceChangedError
            The file is not as it was listed.
        OSError
            The file cannot be read, or the tar not written (disk full).
        """
        info = tarfile.TarInfo(source.name)
        info.size = source.size
        self._write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict"))
        offset = self.size
        sha256 = self._copy(source)
        self._pad(tarfile.BLOCKSIZE)
        return BundleMember(
            path=source.name,
            size=source.size,
            mtime_ns=source.mtime_ns,
            sha256=sha256,
            offset=offset,
            source=str(source.path),
            runs=source.runs,
        )

    def finish(self) -> None:
        """Append the end mark, bring the file to the disk and its digests to their end."""
        self._write(bytes(2 * tarfile.BLOCKSIZE))
        self._pad(tarfile.RECORDSIZE)
        self._hand_over()
        self._file.flush()
        os.fsync(self._file.fileno())
        self.sha256, self.md5 = self._sha256.hexdigest(), self._md5.hexdigest()

    def _copy(self, source: SourceFile) -> str:
        self._member.start()
        left = source.size
        with _open(source) as file:
            while left:
                chunk = file.read(min(_CHUNK, left))
                if not chunk:
                    raise SourceChangedError(f"{source.path}: became shorter while it was bundled")
                if len(chunk) == source.size:  # hashed sooner than handed to a thread
                    self._write(chunk)
                    self._progress(len(chunk))
                    return hashlib.sha256(chunk).hexdigest()
                self._member.update(chunk)
                self._write(chunk)
                self._progress(len(chunk))
                left -= len(chunk)
        return self._member.hexdigest()

    def _pad(self, block: int) -> None:
        self._write(bytes(-self.size % block))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self.size += len(data)
        if len(data) < _CHUNK:  # headers and small files: many in a piece
            self._gathered += data
            if len(self._gathered) < _CHUNK:
                return
            data = b""
        self._hand_over()
        if data:
            self._hash(data)

    def _hand_over(self) -> None:
        if self._gathered:
            self._hash(bytes(self._gathered))
            self._gathered.clear()

    def _hash(self, data: bytes) -> None:
        self._sha256.update(data)
        self._md5.update(data)


def _open(source: SourceFile) -> BinaryIO:
    try:
        fd = os.open(source.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise SourceChangedError(f"{source.path}: went away while it was bundled") from None
    return os.fdopen(fd, "rb")
