"""What may be shown of an HDF5 file that anybody may have written.

Such a file can point elsewhere: to other HDF5 files (external links, virtual datasets) and to any file at
all, whose bytes would be read as a dataset (external storage). Files in the same folder or below it are
followed, as detectors split their series so; nothing else is, and what cannot be read is not shown.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - its filters

from apsdm_bluesky.errors import FormatError

_DEEPEST = 64
_MOST_SOURCES = 8  # virtual datasets of virtual datasets
_FAULTS = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError)


def check_hdf5(path: Path) -> None:
    """Refuse a file that is no readable HDF5.

    Raises
    ------
    FormatError
        It is none, or was cut short.
    """
    with hdf5_part(path, ()) as part:
        list(part)


@contextmanager
def hdf5_part(path: Path, place: Sequence[str]) -> Iterator[Any]:
    """A group or dataset of a file, by the names on the way to it; it is open within the `with` block.

    Raises
    ------
    FormatError
        There is none, or it is not to be shown.
    """
    try:
        file = h5py.File(path, "r", locking=False)
    except _FAULTS as error:
        raise FormatError(f"{path}: is no readable HDF5 file ({_one_line(error)})") from error
    with file:
        part: Any = file
        ways = [_address(file)]
        for depth, name in enumerate(place, 1):
            part = _child(part, name, path.parent)
            ways.append(_address(part))
            if ways[-1] in ways[:-1] or depth > _DEEPEST:
                raise FormatError(f"{path}: /{'/'.join(place)} leads in a circle; take the shorter way")
        yield part


def hdf5_names(group: Any) -> list[str]:
    """The names in a group, of what is not to be shown, too."""
    return [name for name in group if "/" not in name]


def _child(group: Any, name: str, folder: Path) -> Any:
    """What a group holds under a name; errors as of `hdf5_part`."""
    where = f"{group.file.filename}: {group.name.rstrip('/')}/{name}"
    if not isinstance(group, h5py.Group) or not name or "/" in name or name == ".":
        raise FormatError(f"{where}: is no part of the file")
    try:
        child = group[name]
        _check_file(child.file.filename, folder, where)
        if isinstance(child, h5py.Dataset):
            _check_dataset(child, folder, where)
        elif not isinstance(child, h5py.Group):
            raise FormatError(f"{where}: is neither a group nor a dataset")
    except _FAULTS as error:
        raise FormatError(f"{where}: cannot be opened ({_one_line(error)})") from error
    return child


def _check_dataset(dataset: h5py.Dataset, folder: Path, where: str, level: int = 0) -> None:
    if dataset.external is not None:
        raise FormatError(f"{where}: its content lies in another file, which is not read")
    if dataset.shape is None or dataset.dtype is None:
        raise FormatError(f"{where}: has no values")
    for source in dataset.virtual_sources() if dataset.is_virtual else ():
        if level == _MOST_SOURCES or "%" in source.file_name or "%" in source.dset_name:
            raise FormatError(f"{where}: its sources cannot be followed")
        _check_source(dataset, source, folder, where, level)


def _check_source(dataset: h5py.Dataset, source: Any, folder: Path, where: str, level: int) -> None:
    if source.file_name == ".":
        _check_dataset(dataset.file[source.dset_name], folder, where, level + 1)
        return
    place = Path(dataset.file.filename).parent / source.file_name
    _check_file(place, folder, where)
    if not place.is_file():  # then HDF5 would look elsewhere
        raise FormatError(f"{where}: its source {place} is missing")
    with h5py.File(place, "r", locking=False) as file:
        found = file[source.dset_name]
        _check_file(found.file.filename, folder, where)
        _check_dataset(found, folder, where, level + 1)


def _check_file(name: str | Path, folder: Path, where: str) -> None:
    if not Path(name).resolve().is_relative_to(folder.resolve()):
        raise FormatError(f"{where}: lies in {name}, outside of {folder}; it is not read")


def _address(part: Any) -> tuple[Any, ...]:
    info = h5py.h5o.get_info(part.id)
    return info.fileno, info.addr


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
