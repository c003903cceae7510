"""Whether a DAQ can be as it is asked for."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from apsdm_bluesky.errors import ConfigError, DaqError
from apsdm_bluesky.texts import is_text

from ._daq import DaqOptions, Kind, NewDaq
from ._wants import Wants

_LONGEST_S = 10_000 * 3600  # more than a year


def check_new(new: NewDaq, *, sources: Sequence[Path], home: Path | None) -> None:
    """Refuse what would read what it must not, or its own output.

    Parameters
    ----------
    sources
        Folders that may be read; none: any.
    home
        The state folder, which holds keys: neither it nor anything in or around it is read.

    Raises
    ------
    DaqError
        Which option or folder, and what to do.
    """
    if not new.source.is_absolute():
        raise DaqError(f"{new.source}: give the folder's whole path")
    source = _real(new.source)
    _check_kind(new, source)
    _check_options(new.options)
    check_opened(new, source, sources=sources, home=home)


def check_opened(new: NewDaq, source: Path, *, sources: Sequence[Path], home: Path | None) -> None:
    """As `check_new`, of a folder that was opened: links may have been turned since it was asked for.

    Parameters
    ----------
    source
        Its path without links.
    """
    _check_allowed(source, sources)
    root = _real(new.root)
    if new.options.skip_transfer:
        if not source.is_relative_to(root / "data"):
            raise DaqError(f"{source}: files that are not copied must lie below {root / 'data'}")
        return
    if _overlap(source, root):
        raise DaqError(
            f"{source}: is where the experiment's files go; skip the transfer to take them in place"
        )
    if home is not None and _overlap(source, _real(home)):
        raise DaqError(f"{source}: holds the beamline's own state; name a folder that the detector writes")


def _check_options(options: DaqOptions) -> None:
    destination = PurePosixPath(options.destination)
    if destination.is_absolute() or ".." in destination.parts or not is_text(options.destination):
        raise DaqError(f"destination {options.destination!r}: give a folder below the experiment's data")
    if options.destination and options.skip_transfer:
        raise DaqError("destination: files that are not copied stay where they are; leave one of them out")
    limit = options.max_run_time_s
    if limit is not None and not 0 < limit <= _LONGEST_S:
        raise DaqError(
            f"max_run_time_s {limit}: give up to {_LONGEST_S} seconds, after which it stops by itself"
        )
    try:
        Wants(options.include, options.exclude)
    except ConfigError as error:
        raise DaqError(str(error)) from error


def _check_kind(new: NewDaq, source: Path) -> None:
    if source.is_dir():
        return
    if not source.exists():
        raise DaqError(f"{source}: is not there, or may not be read by this account")
    if new.kind is Kind.DAQ or not source.is_file():
        raise DaqError(f"{source}: is no folder; a single file can be uploaded")


def _check_allowed(source: Path, sources: Sequence[Path]) -> None:
    allowed = [_real(folder) for folder in sources]
    if allowed and not any(source.is_relative_to(folder) for folder in allowed):
        raise DaqError(
            f"{source}: is in none of the folders that may be read ({', '.join(map(str, allowed))}); "
            "add it to daq.sources"
        )


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
