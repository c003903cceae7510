"""HDF5 files as trees, of which each request opens only its way to what it asks for."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tiled.adapters.hdf5 import HDF5Adapter, HDF5ArrayAdapter
from tiled.server.core import NoEntry
from tiled.structures.array import ArrayStructure
from tiled.structures.core import StructureFamily
from tiled.utils import BrokenLink

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.formats import hdf5_names, hdf5_part
from apsdm_bluesky.spool import uri_path

from ._adapters import unreadable

_LONGEST_ATTRIBUTE = 1000  # values


class FileTreeAdapter(HDF5Adapter):
    """A group of an HDF5 file. Where the catalogue tells of a single dataset, the adapter is Tiled's.

    Parameters
    ----------
    place
        The names on the way to the group.
    """

    def __init__(
        self, path: Path, place: Sequence[str] = (), metadata: Any = None, specs: Any = None
    ) -> None:
        self._path = path
        self._place = tuple(place)
        with hdf5_part(path, place) as group:
            names = hdf5_names(group)
            self._attributes = attributes(group)
        super().__init__(dict.fromkeys(names), str(path), metadata=metadata, specs=specs)

    @classmethod
    def from_catalog(cls, data_source: Any, node: Any, /, **parameters: Any) -> Any:
        """The adapter of a node of the catalogue; Tiled has checked that its file may be read."""
        whole = data_source.structure_family == StructureFamily.container
        if not whole or parameters or len(data_source.assets) != 1:
            return HDF5Adapter.from_catalog(data_source, node, **parameters)
        try:
            return cls(
                uri_path(data_source.assets[0].data_uri), metadata=node.metadata_, specs=node.specs
            )
        except FormatError as error:
            raise unreadable(error) from error

    def metadata(self) -> Any:
        """Attributes of the group, and of the whole file those of its node."""
        return {**self._attributes, **(self._metadata or {})}

    def __getitem__(self, key: str) -> Any:
        names = key.strip("/").split("/")
        place = (*self._place, *names)
        if names[0] not in self._tree:
            raise NoEntry(f"{self._path}: has no /{'/'.join(place)}")
        try:
            with hdf5_part(self._path, place) as part:
                if hasattr(part, "shape"):
                    found = attributes(part)
                    return _array(self._path, place, found)
            return FileTreeAdapter(self._path, place)
        except FormatError as error:
            raise BrokenLink(str(error)) from error


    def _items_slice(self, start: int, stop: int, direction: int, page_size: int | None = None) -> Any:
        """Tiled's protocol, for exports; what is not to be shown is left out."""
        found = []
        for key in self._keys_slice(0, len(self), direction, page_size):
            with contextlib.suppress(BrokenLink):
                found.append((key, self[key]))
        return found[start:stop]


def _array(path: Path, place: Sequence[str], metadata: Any) -> HDF5ArrayAdapter:
    array = HDF5ArrayAdapter.lazy_load_hdf5_array(path, dataset="/".join(("", *place)), locking=False)
    return HDF5ArrayAdapter(array, ArrayStructure.from_array(array), metadata=metadata)


def attributes(part: Any) -> dict[str, Any]:
    """The attributes of a group or dataset as JSON can hold them; those that cannot be read are left out."""
    found = {}
    for name in part.attrs:
        try:
            found[name] = _plain(part.attrs[name])
        except (OSError, TypeError, ValueError, KeyError, RuntimeError) as error:
            found[name] = f"cannot be read: {error}"
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray) and value.size > _LONGEST_ATTRIBUTE:
        return f"{value.dtype} array of shape {value.shape}"
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool) else str(value)
