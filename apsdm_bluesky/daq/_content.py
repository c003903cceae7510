"""Is a file whole, as far as its headers tell? Only those are read."""

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

from ._content_hdf5 import why_not_hdf5
from ._content_reader import ContentReader, ShortError, SpentError
from ._content_tiff import why_not_tiff
from ._scan import Seen
from ._source import Source
from ._wants import matches

Rule = Literal["settled", "hdf5", "tiff", "rigaku"]

CHANGED = "it was changed while it was looked at"
_WORD = 8
_BY_SUFFIX: tuple[tuple[tuple[str, ...], Rule], ...] = (
    ((".h5", ".hdf5", ".hdf", ".nxs", ".cxi"), "hdf5"),
    ((".tif", ".tiff", ".btf", ".tf8"), "tiff"),
    # A plain .bin may be anything: who has Rigaku's says so.
    (tuple(f".bin.{number:03d}" for number in range(6)), "rigaku"),
)


def rule_for(name: str, rules: Mapping[str, Rule] = MappingProxyType({})) -> Rule:
    """What must hold for a file to be complete: the first pattern's that fits, else by its suffix.

    Parameters
    ----------
    name
        Its path in the watched folder.
    rules
        Rules by pattern (see `Wants`), in their order.
    """
    for pattern, rule in rules.items():
        if matches(pattern, name):
            return rule
    low = name.lower()
    return next((rule for suffixes, rule in _BY_SUFFIX if low.endswith(suffixes)), "settled")


def why_incomplete(source: Source, seen: Seen, rule: Rule) -> str | None:
    """Why a file is not complete, by what is in it; None when it is.

    Whatever the rule, it is opened: a network file system tells how a file really stands when it is opened,
    and what it remembers otherwise.

    Raises
    ------
    OSError, OddFileError
        As `Source.open`.
    """
    fd = source.open(seen.name)
    try:
        info = os.fstat(fd)
        if (info.st_size, info.st_mtime_ns, info.st_ino) != (seen.size, seen.mtime_ns, seen.ino):
            return CHANGED
        return _why_not(rule, ContentReader(fd, info.st_size))
    finally:
        os.close(fd)


def _why_not(rule: Rule, content: ContentReader) -> str | None:
    look = _LOOKS.get(rule)
    if look is None:
        return None
    if not content.size:
        return "it is empty"
    try:
        return look(content)
    except ShortError as error:
        return str(error)
    except SpentError:
        return None  # so many headers that they are not read to the end: that it settled must do


def _why_not_rigaku(content: ContentReader) -> str | None:
    """Files of the Rigaku detectors are 64-bit words, and nothing else: see `apsdm_bluesky.formats`."""
    rest = content.size % _WORD
    return f"its {content.size} bytes are no whole 64-bit words" if rest else None


_LOOKS: Mapping[Rule, Callable[[ContentReader], str | None]] = MappingProxyType(
    {"hdf5": why_not_hdf5, "tiff": why_not_tiff, "rigaku": _why_not_rigaku}
)
