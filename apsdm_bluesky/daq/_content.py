"""Is a file whole, as far as its headers tell? Only those are read."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

from ._content_hdf5 import why_not_hdf5
from ._content_reader import ContentReader, ShortError, SpentError
from ._content_tiff import why_not_tiff
from ._wants import matches

Rule = Literal["settled", "hdf5", "tiff", "rigaku"]

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


def why_not_whole(fd: int, size: int, rule: Rule) -> str | None:
    """Why a file is not whole, by what is in it; None when it is.

    Parameters
    ----------
    fd
        Open for reading: a network file system tells only then how the file stands, else what it remembers.
    size
        Its bytes, as they are now.
    """
    look = _LOOKS.get(rule)
    if look is None:
        return None
    content = ContentReader(fd, size)
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
