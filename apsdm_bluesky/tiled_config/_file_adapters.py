"""Files of experiments: any of them as bytes, Rigaku files as frames, TIFF files as images.

Only what is asked for is read. Files that are missing or are not what was registered are an error of the request
(HTTP 500); an answer of more than 300 MB is refused (400).
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tiled.adapters.core import Adapter
from tiled.adapters.tiff import TiffSequenceAdapter
from tiled.ndslice import NDBlock, NDSlice
from tiled.structures.core import StructureFamily

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.formats import RigakuFrames, read_tiff
from apsdm_bluesky.spool import uri_path

from ._adapters import LARGEST_ANSWER, EventFramesAdapter, too_large, unreadable

_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _FileAdapter(Adapter):
    """An array in one file."""

    structure_family = StructureFamily.array

    def __init__(self, path: Path, structure: Any, **kwargs: Any) -> None:
        self._path = path
        super().__init__(structure, **kwargs)

    @classmethod
    def from_catalog(cls, data_source: Any, node: Any, /, **_: Any) -> Self:
        """The adapter of a node of the catalogue; Tiled has checked that its file may be read."""
        (asset,) = data_source.assets
        return cls(
            uri_path(asset.data_uri), data_source.structure, metadata=node.metadata_, specs=node.specs
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return tuple(self.structure().shape)

    def read(self, slice: NDSlice = NDSlice(...)) -> Any:  # noqa: A002, B008 - Tiled's protocol
        """Some of the array."""
        wanted = NDSlice(slice).expand_for_shape(self.shape)
        _check_size(wanted, self.shape, self.structure().data_type.to_numpy_dtype())
        try:
            return self._read(wanted)
        except FormatError as error:
            raise unreadable(error) from error

    def read_block(self, block: NDBlock, slice: NDSlice = NDSlice(...)) -> Any:  # noqa: A002, B008
        """Some of a block of the array."""
        part = block.slice_from_chunks(self.structure().chunks).expand_for_shape(self.shape)
        return self.read(part[slice] if slice else part)

    def _read(self, wanted: Sequence[Any]) -> Any:
        raise NotImplementedError


class FileBytesAdapter(_FileAdapter):
    """The bytes of any file."""

    def _read(self, wanted: Sequence[Any]) -> Any:
        (first,) = wanted
        if isinstance(first, int):
            return self._bytes(first, first + 1)[0]
        places = range(self.shape[0])[first]
        if not places:
            return np.empty(0, np.uint8)
        low, high = min(places[0], places[-1]), max(places[0], places[-1]) + 1
        if high - low > LARGEST_ANSWER:
            raise too_large()
        return self._bytes(low, high)[places[0] - low :: places.step]

    def _bytes(self, begin: int, end: int) -> NDArray[np.uint8]:
        """By position: a file that became shorter is an error, where a memory map would end the server."""
        found = np.empty(end - begin, np.uint8)
        try:
            fd = os.open(self._path, _READING)
            try:
                filled, room = 0, memoryview(found.data)
                while filled < len(found):
                    count = os.preadv(fd, [room[filled:]], begin + filled)
                    if not count:
                        raise FormatError(f"{self._path}: ends at byte {begin + filled}, {end} are registered")
                    filled += count
            finally:
                os.close(fd)
        except OSError as error:
            raise FormatError(f"{self._path}: cannot be read ({error.strerror})") from error
        return found


class FileTiffAdapter(_FileAdapter):
    """The image of one TIFF file."""

    def _read(self, wanted: Sequence[Any]) -> Any:
        return _image(self._path, self.shape, self.structure().data_type.to_numpy_dtype())[tuple(wanted)]


class FileTiffsAdapter(TiffSequenceAdapter):
    """The images of numbered TIFF files, one row each."""

    def __init__(self, data_uris: Any = None, structure: Any = None, **kwargs: Any) -> None:
        super().__init__(data_uris, structure, **kwargs)
        self.filepaths = _Paths(data_uris or [])

    def read(self, slice: Any = ...) -> Any:  # noqa: A002 - Tiled's protocol
        """Some of the array; of each file what is not wanted is dropped before the next one is read."""
        if self._chunks is not None:  # of a device's run, whose files are no single rows
            return super().read(slice)
        shape = tuple(self.structure().shape)
        first, *inside = NDSlice(slice).expand_for_shape(shape)
        _check_size((first, *inside), shape, self.structure().data_type.to_numpy_dtype())
        one = isinstance(first, int)
        rows = (first,) if one else tuple(range(shape[0])[first])
        try:
            answer = self._read_selected(rows, tuple(inside), shape[1:])
        except FormatError as error:
            raise unreadable(error) from error
        return answer[0] if one else answer

    def read_block(self, block: NDBlock, slice: NDSlice = NDSlice(...)) -> Any:  # noqa: A002, B008
        """Some of a block of the array."""
        if self._chunks is not None:
            return super().read_block(block, slice)
        structure = self.structure()
        part = block.slice_from_chunks(structure.chunks).expand_for_shape(tuple(structure.shape))
        return self.read(part[slice] if slice else part)

    def _read_one(self, filepath: Any) -> NDArray[Any]:
        structure = self.structure()
        return _image(Path(filepath), tuple(structure.shape[1:]), structure.data_type.to_numpy_dtype())


class FileRigakuAdapter(EventFramesAdapter):
    """The frames of a Rigaku module's file."""

    @classmethod
    def from_catalog(cls, data_source: Any, node: Any, /) -> Self:
        """The adapter of a node of the catalogue; Tiled has checked that its file may be read."""
        (asset,) = data_source.assets
        try:
            frames = RigakuFrames(uri_path(asset.data_uri))
            return cls(frames, data_source.structure, metadata=node.metadata_, specs=node.specs)
        except FormatError as error:
            raise unreadable(error) from error


class _Paths:
    """Files by their places in a list of addresses, some of which may not be known."""

    def __init__(self, uris: Sequence[str]) -> None:
        self._uris = uris

    def __len__(self) -> int:
        return len(self._uris)

    def __getitem__(self, place: Any) -> Any:
        found = self._uris[place]
        return [uri_path(uri) for uri in found] if isinstance(place, slice) else uri_path(found)


def _check_size(wanted: Sequence[Any], shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    size = np.prod(NDSlice(*wanted).shape_after_slice(tuple(shape)), dtype=float) * dtype.itemsize
    if size > LARGEST_ANSWER:
        raise too_large()


def _image(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    image = read_tiff(path)
    if image.size != np.prod(shape, dtype=object) or image.dtype.newbyteorder("=") != dtype.newbyteorder("="):
        raise FormatError(f"{path}: registered is {shape} {dtype}, stored is {image.shape} {image.dtype}")
    return image.reshape(shape).astype(dtype, copy=False)
