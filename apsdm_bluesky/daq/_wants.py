"""Which files of a folder are wanted: shell patterns."""

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence

from apsdm_bluesky.errors import ConfigError
from apsdm_bluesky.texts import is_text, printable

_LONGEST = 1000
_WILD = re.compile(r"[*?[]")


class Wants:
    """Which files are wanted, and which folders are worth a look.

    A pattern with '/' is compared with the whole relative path, one without with the name alone; '*' stands
    for any characters, '/' too: `raw/*` is everything below raw. Case counts. A folder that is excluded is so
    with all that is in it.

    Parameters
    ----------
    include
        Patterns of files; none: all.
    exclude
        Patterns of files and folders that stay out, whatever includes them.
    hidden
        Whether files and folders are wanted whose names begin with a dot.

    Raises
    ------
    ConfigError
        A pattern cannot be used.
    """

    def __init__(
        self, include: Sequence[str] = (), exclude: Sequence[str] = (), hidden: bool = False
    ) -> None:
        for pattern in (*include, *exclude):
            check_pattern(pattern)
        self._included = _matcher(include) if include else None
        self._excluded = _matcher(exclude)
        self._hidden = hidden
        # Where all patterns say in which folder, other folders need no look.
        self._roots = tuple(map(_fixed_folder, include)) if all("/" in each for each in include) else ()

    def file(self, name: str) -> bool:
        """Whether a file is wanted, by its path in the folder."""
        return self.file_here(name) and all(self._open_to(each) for each in _parents(name))

    def folder(self, name: str) -> bool:
        """Whether a folder, by its path, may hold files that are wanted."""
        return self.folder_here(name) and all(self._open_to(each) for each in _parents(name))

    def file_here(self, name: str) -> bool:
        """As `file`, of a file in a folder that is known to be wanted."""
        return self._open_to(name) and (self._included is None or self._included(name))

    def folder_here(self, name: str) -> bool:
        """As `folder`, of a folder in one that is known to be wanted."""
        if not self._open_to(name):
            return False
        return not self._roots or any(_on_one_way(root, name) for root in self._roots)

    def _open_to(self, name: str) -> bool:
        if not self._hidden and name.startswith(".", name.rfind("/") + 1):
            return False
        return not self._excluded(name)


def matches(pattern: str, name: str) -> bool:
    """Whether a path fits a pattern: the whole of it where the pattern has '/', else its last part."""
    return fnmatch.fnmatchcase(name if "/" in pattern else name.rpartition("/")[2], pattern)


def check_pattern(pattern: str) -> None:
    """Refuse what cannot be a pattern of files below a folder.

    Raises
    ------
    ConfigError
        It is empty, too long, absolute, leads out of the folder, or no path could fit it.
    """
    if not pattern or len(pattern) > _LONGEST or not is_text(pattern):
        raise ConfigError(
            f"pattern {printable(pattern, 80)!r}: give 1 to {_LONGEST} characters without control characters"
        )
    if pattern.startswith("/"):
        raise ConfigError(f"pattern {pattern!r}: is absolute; give it relative to the folder, as 'raw/*.h5'")
    parts = pattern.split("/")
    if ".." in parts:
        raise ConfigError(f"pattern {pattern!r}: '..' leads out of the folder; leave it out")
    if "." in parts or "" in parts:
        raise ConfigError(
            f"pattern {pattern!r}: no path has an empty part or '.'; give 'raw/*' for all that is in raw"
        )


def _matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    paths = _expression(each for each in patterns if "/" in each)
    names = _expression(each for each in patterns if "/" not in each)

    def fits(name: str) -> bool:
        if names is not None and names(name[name.rfind("/") + 1 :]):
            return True
        return paths is not None and paths(name) is not None

    return fits


def _expression(patterns: Iterable[str]) -> Callable[[str], re.Match[str] | None] | None:
    alternatives = "|".join(map(fnmatch.translate, patterns))
    return re.compile(alternatives).match if alternatives else None


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _fixed_folder(pattern: str) -> str:
    wild = _WILD.search(pattern)
    fixed = pattern[: wild.start()] if wild else pattern
    return fixed.rpartition("/")[0]


def _on_one_way(one: str, other: str) -> bool:
    shorter, longer = sorted((f"{one}/" if one else "", f"{other}/"), key=len)
    return longer.startswith(shorter)
