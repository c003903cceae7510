"""What lies in a watched folder: files that can be taken, and what cannot."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from apsdm_bluesky.texts import is_text, printable

from ._source import Folder, OddFileError, Source, enter, kind_of, link_text
from ._wants import Wants

DEEPEST = 64
_HERE = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Seen:
    """A regular file, as it was when it was looked at.

    Parameters
    ----------
    name
        Its path in the watched folder.
    size
        Bytes.
    mtime_ns, ctime_ns
        When its content, and anything of it, were last changed, by its file system [ns since the Unix epoch].
    ino
        Its number in the file system: another one is another file of the same name.
    """

    name: str
    size: int
    mtime_ns: int
    ctime_ns: int
    ino: int


@dataclass(frozen=True, slots=True)
class Odd:
    """What is not taken: a link, a device, a name that is no text, a folder that cannot be read.

    Parameters
    ----------
    name
        Its path in the watched folder; bytes and characters that cannot be shown are escaped.
    reason
        Why, for a person.
    unreadable
        It would be taken if it could be read.
    """

    name: str
    reason: str
    unreadable: bool = False


def scan(source: Source, wants: Wants, folder: str = "", recursive: bool = True) -> Iterator[Seen | Odd]:
    """All that is wanted in a folder. What vanishes meanwhile is not told; no link is followed.

    Parameters
    ----------
    folder
        The path below the source to begin at; nothing is told where it is gone or not wanted.
    recursive
        Whether folders in it are looked into.

    Raises
    ------
    OSError
        The source itself cannot be read.
    """
    if source.single is not None:
        yield from _single(source)
        return
    if folder and not wants.folder(folder):
        return
    try:
        start = _reopened(source.folder(folder))
        yield from _Walk(wants, recursive).into(start, folder, (start.place,))
    except (OSError, OddFileError) as error:
        if not folder and isinstance(error, OSError):
            raise
        yield from _refused(folder, error)


def folders(source: Source, wants: Wants, name: str = "") -> Iterator[tuple[str, Folder]]:
    """Folders that are wanted, from one of the source down, each before what is in it is looked at.

    What `scan` would tell as odd is left out here, and so is what vanishes.
    """
    if source.single is not None or (name and not (is_text(name) and wants.folder(name))):
        return
    with suppress(OSError, OddFileError):
        start = _reopened(source.folder(name))
        yield from _folders_below(start, wants, name, (start.place,))


class _Walk:
    """One way through the folders, deepest first; one open descriptor a level."""

    def __init__(self, wants: Wants, recursive: bool) -> None:
        self._wants = wants
        self._recursive = recursive

    def into(self, folder: Folder, name: str, above: tuple[tuple[int, int], ...]) -> Iterator[Seen | Odd]:
        prefix = f"{name}/" if name else ""
        below: list[str] = []
        with os.scandir(folder.fd) as entries:
            for entry in entries:
                found = self._look(folder, entry, prefix, below)
                if found is not None:
                    yield found
        for part in below if self._recursive else ():
            yield from self._enter(folder, part, prefix + part, above)

    def _look(
        self, folder: Folder, entry: os.DirEntry[str], prefix: str, below: list[str]
    ) -> Seen | Odd | None:
        part = entry.name
        name = prefix + part
        if not (part.isascii() and part.isprintable()) and not is_text(part):
            return _misnamed(name) if self._wants.folder_here(name) else None
        if entry.is_dir(follow_symlinks=False):
            if self._wants.folder_here(name):
                below.append(part)
            return None
        if entry.is_file(follow_symlinks=False):
            return _seen(entry, folder, name) if self._wants.file_here(name) else None
        # Of a link nobody knows whether files that are wanted lie behind it: it is told as a folder is.
        return _seen(entry, folder, name) if self._wants.folder_here(name) else None

    def _enter(
        self, parent: Folder, part: str, name: str, above: tuple[tuple[int, int], ...]
    ) -> Iterator[Seen | Odd]:
        if len(above) >= DEEPEST:
            yield Odd(name, f"lies {len(above)} folders deep: what is in it is not looked at")
            return
        try:
            folder = enter(parent, part, name)
            if folder.place in above:
                yield Odd(name, "is one of the folders that it lies in, mounted once more")
            else:
                yield from self.into(folder, name, (*above, folder.place))
        except (OSError, OddFileError) as error:
            yield from _refused(name, error)


def _seen(entry: os.DirEntry[str], folder: Folder, name: str) -> Seen | Odd | None:
    try:
        info = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Odd(name, _unreadable(error), unreadable=True)
    if stat.S_ISREG(info.st_mode):
        return Seen(name, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)
    if stat.S_ISLNK(info.st_mode):
        return Odd(name, link_text(folder, entry.name))
    # A folder that took a file's place meanwhile is found by the next look.
    return None if stat.S_ISDIR(info.st_mode) else Odd(name, kind_of(info.st_mode))


def _folders_below(
    folder: Folder, wants: Wants, name: str, above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str, Folder]]:
    yield name, folder
    if len(above) >= DEEPEST:
        return
    prefix = f"{name}/" if name else ""
    with os.scandir(folder.fd) as entries:
        parts = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    for part in parts:
        if is_text(part) and wants.folder_here(prefix + part):
            with suppress(OSError, OddFileError):
                below = enter(folder, part, prefix + part)
                if below.place not in above:
                    yield from _folders_below(below, wants, prefix + part, (*above, below.place))


def _single(source: Source) -> Iterator[Seen | Odd]:
    name = str(source.single)
    try:
        info = source.stat(name)
    except (FileNotFoundError, OddFileError) as error:
        yield from _refused(name, error)
        return
    yield Seen(name, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)


def _refused(name: str, error: OSError | OddFileError) -> Iterator[Odd]:
    if isinstance(error, OddFileError):
        yield Odd(error.name, error.reason)
    elif not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        yield Odd(name, _unreadable(error), unreadable=True)


def _reopened(folder: Folder) -> Folder:
    # A description of its own: two looks at a time would share the place in the listing.
    return Folder(os.open(".", _HERE, dir_fd=folder.fd))


def _misnamed(name: str) -> Odd:
    try:
        name.encode()
    except UnicodeEncodeError:
        reason = "its name is no UTF-8; rename it"
    else:
        reason = "its name has control characters; rename it"
    shown = os.fsencode(name).decode(errors="backslashreplace")
    return Odd(printable(shown, 6 * len(shown)), reason)


def _unreadable(error: OSError) -> str:
    return f"cannot be read: {error.strerror or error}"
