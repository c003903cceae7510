"""Compress as areaDetector's NDPluginCodec does."""

from collections.abc import Callable
from typing import Any

import imagecodecs
from numpy.typing import NDArray

__all__ = ["COMPRESSORS"]

# Bitshuffle turns elements by eights, in blocks of this size; each is one LZ4 block.
_GROUP = 8
_BLOCK_BYTES = 8192


def _lz4(data: NDArray[Any]) -> bytes:
    return bytes(imagecodecs.lz4_encode(data, header=False))


def _blosc(data: NDArray[Any]) -> bytes:
    return bytes(
        imagecodecs.blosc_encode(data, level=5, compressor="lz4", shuffle=1, typesize=data.dtype.itemsize)
    )


def _bslz4(data: NDArray[Any]) -> bytes:
    """Blocks with their big-endian size ahead; the last few elements as they are."""
    elements = _BLOCK_BYTES // data.dtype.itemsize
    whole = data.size // _GROUP * _GROUP
    unsigned = data.view(f"u{data.dtype.itemsize}")[:whole]
    shuffled = imagecodecs.bitshuffle_encode(unsigned, itemsize=data.dtype.itemsize, blocksize=elements)
    parts = []
    for begin in range(0, whole, elements):
        block = _lz4(shuffled[begin : begin + elements])
        parts += [len(block).to_bytes(4, "big"), block]
    return b"".join([*parts, data[whole:].tobytes()])


COMPRESSORS: dict[str, Callable[[NDArray[Any]], bytes]] = {"lz4": _lz4, "blosc": _blosc, "bslz4": _bslz4}
"""From a flat array to its payload."""
