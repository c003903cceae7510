"""Raw data that were released are not read: a request for them is answered 409, with what to do.

Zarr reads a missing chunk as zeros. So a tombstone is looked for before files are opened, and once more when
they have been read: it is put there before the first file is removed, and taken away after the last is back.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fastapi import HTTPException
from tiled.mimetypes import DEFAULT_ADAPTERS_BY_MIMETYPE
from tiled.ndslice import NDBlock, NDSlice

from apsdm_bluesky.archive import find_tombstone, read_tombstone
from apsdm_bluesky.errors import FormatError

from ._adapters import EventCoordinatesAdapter, EventFramesAdapter
from ._file_adapters import FileBytesAdapter, FileRigakuAdapter, FileTiffAdapter, FileTiffsAdapter
from ._hdf5_adapter import FileTreeAdapter

_READING = ("read", "read_block", "get")


class Guard:
    """What opens data of a media type, as Tiled's adapter classes do, but not where they were released.

    Parameters
    ----------
    adapter
        The adapter's class; None: that of Tiled.
    """

    def __init__(self, mimetype: str, adapter: Any = None) -> None:
        self._mimetype = mimetype
        self._adapter = adapter

    def from_catalog(self, data_source: Any, node: Any, /, **parameters: Any) -> Any:
        """The adapter of a node of the catalogue, which watches over what it reads."""
        places = _places(data_source, parameters)
        with _unreleased(places):
            adapter = self._opener.from_catalog(data_source, node, **parameters)
        return _watched(adapter, places)

    def __getattr__(self, name: str) -> Any:
        """All else is the adapter's."""
        return getattr(self._opener, name)

    @property
    def _opener(self) -> Any:
        return self._adapter or DEFAULT_ADAPTERS_BY_MIMETYPE[self._mimetype]


ZARR = Guard("application/x-zarr")
ZARR_EVENTS = Guard("application/x-zarr;structure=events", EventFramesAdapter)
ZARR_SPARSE = Guard("application/x-zarr;structure=sparse", EventCoordinatesAdapter)
HDF5 = Guard("application/x-hdf5", FileTreeAdapter)
NPY = Guard("application/x-npy")
NPYS = Guard("multipart/related;type=application/x-npy")
TIFF = Guard("image/tiff", FileTiffAdapter)
TIFFS = Guard("multipart/related;type=image/tiff", FileTiffsAdapter)
RIGAKU = Guard("application/x-rigaku-bin", FileRigakuAdapter)
BYTES = Guard("application/octet-stream", FileBytesAdapter)
JPEG = Guard("image/jpeg")
JPEGS = Guard("multipart/related;type=image/jpeg")


def _places(data_source: Any, parameters: Mapping[str, Any]) -> list[Path]:
    """The data's files and folders on this machine: a source that is read in part tells them apart."""
    uris = [asset.data_uri for asset in data_source.assets]
    uris += [uri for uri in parameters.get("data_uris", ()) if uri is not None]
    return [Path(unquote(urlsplit(uri).path)) for uri in uris if urlsplit(uri).scheme == "file"]


def _watched(adapter: Any, places: Sequence[Path]) -> Any:
    """The adapter, of which whatever reads looks for tombstones before and after."""
    for name in _READING:
        if (method := getattr(adapter, name, None)) is not None:
            setattr(adapter, name, _watching(method, places, opens=name == "get"))
    return adapter


def _watching(method: Callable[..., Any], places: Sequence[Path], *, opens: bool) -> Callable[..., Any]:
    def watching(*args: Any, **kwargs: Any) -> Any:
        with _unreleased(places):
            answer = method(*args, **kwargs)
        return _watched(answer, places) if opens and answer is not None else answer

    return watching


@contextmanager
def _unreleased(places: Sequence[Path]) -> Iterator[None]:
    """What was read where a release began meanwhile is not to be believed, nor is what went wrong there."""
    _refuse_released(places)
    try:
        yield
    except Exception:
        _refuse_released(places)
        raise
    _refuse_released(places)


def _refuse_released(places: Sequence[Path]) -> None:
    for place in places:
        if (found := find_tombstone(place)) is not None:
            raise HTTPException(409, _told(found))


def _told(place: Path) -> str:
    try:
        return read_tombstone(place).advice
    except FormatError as error:
        return f"these data may be on tape: {error}"
