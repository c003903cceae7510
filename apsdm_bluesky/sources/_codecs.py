"""Decompress what areaDetector's NDPluginCodec has compressed. It comes from a network: nothing is trusted.

Each decoder gets a buffer of the size that the image must have and may not write beyond it, and every size
that a payload states itself is compared with what is there before a library sees it.
"""

import math
from collections.abc import Callable, Sized
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from apsdm_bluesky.errors import FormatError

Bytes = NDArray[np.uint8]

# No detector sends more in one message; a forged size must not take the machine's memory.
MAX_MESSAGE_BYTES = 2**30

_SIZE = 4  # bytes of a block's size
# Elements that bitshuffle transposes at once, and the bytes that it makes a block of by default.
_BITSHUFFLE_GROUP = 8
_BITSHUFFLE_BLOCK_BYTES = 8192
# Heads of an LZ4 frame (independent blocks, no checksums) by the bytes that its largest block may have.
_LZ4_FRAME_HEADS = {2**16: bytes.fromhex("04224d18604082"), 2**22: bytes.fromhex("04224d18607073")}


def decompress(codec: str, payload: Bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The array of `shape` and `dtype` that `payload` holds.

    Parameters
    ----------
    codec
        ``lz4``, ``bslz4``, ``blosc`` or ``jpeg``, as in ``codec.name`` of an NTNDArray.
    payload
        Shape (m,). For lz4 and bslz4 with or without the header that a chunk of an HDF5 file has.

    Raises
    ------
    FormatError
        No such codec, a size beyond `MAX_MESSAGE_BYTES`, or a payload that is not what it is said to be.
    """
    decoder = _DECODERS.get(codec)
    if decoder is None:
        raise FormatError(f"its codec {codec!r} is unknown; choose {', '.join(_DECODERS)} or none")
    if max(math.prod(shape) * dtype.itemsize, payload.nbytes) > MAX_MESSAGE_BYTES:
        raise FormatError(f"{shape} {dtype} is larger than any message may be ({MAX_MESSAGE_BYTES} bytes)")
    if not math.prod(shape):  # packed events: no word at all
        return np.empty(shape, dtype)
    try:
        return decoder(np.ascontiguousarray(payload), shape, dtype)
    except (RuntimeError, ValueError) as error:  # what imagecodecs raises
        raise FormatError(f"it cannot be decompressed by {codec}: {error}") from error


def _lz4(payload: Bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A bare block, or HDF5's chunk: total size (8 bytes), block size (4), then blocks with their sizes."""
    out = np.empty(shape, dtype)
    flat = _bytes(out)
    if _number(payload, 0, 8) != flat.size:  # no bare block begins so: its first match would point nowhere
        _lz4_block(payload, flat)
        return out
    block, at = _number(payload, 8, 4), 12
    if block < 1:
        raise FormatError("its lz4 blocks have no size")
    for start in range(0, flat.size, block):
        part = flat[start : start + block]
        size = _block_size(payload, at)
        at += _SIZE
        if size == part.size:  # what does not shrink is kept as it is
            part[:] = payload[at : at + size]
        else:
            _lz4_block(payload[at : at + size], part)
        at += size
    return out


def _lz4_block(payload: Bytes, out: Bytes) -> None:
    _filled(imagecodecs.lz4_decode(payload, out=out.data), out.size)


def _bslz4(payload: Bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Blocks of bit-shuffled elements, each with its size ahead; the last few elements as they are.

    Bitshuffle's own decoder reads as far as the blocks say. But they nearly are an LZ4 frame, which a library
    decodes in one call and within bounds; what is left is to turn the bits.
    """
    count, block = math.prod(shape), 0
    if _number(payload, 0, 8) == count * dtype.itemsize:  # no first block begins so: it would be empty
        block, payload = _number(payload, 8, 4) // dtype.itemsize, payload[12:]
    block = block or _BITSHUFFLE_BLOCK_BYTES // dtype.itemsize
    if block % _BITSHUFFLE_GROUP:
        raise FormatError(f"its blocks have {block} elements, no multiple of {_BITSHUFFLE_GROUP}")
    whole = count // _BITSHUFFLE_GROUP * _BITSHUFFLE_GROUP
    frame, end = _as_lz4_frame(payload, -(-whole // block), block * dtype.itemsize)
    size, rest = whole * dtype.itemsize, payload[end:]
    if size + rest.size != count * dtype.itemsize:
        raise FormatError(f"it has {rest.size} bytes behind its last bslz4 block")
    shuffled = np.empty(size + rest.size + 1, np.uint8)
    # One byte more than they should fill shows blocks that are too long.
    _filled(imagecodecs.lz4f_decode(frame, out=shuffled[: size + 1].data), size)
    shuffled[size : size + rest.size] = rest
    # imagecodecs takes the element's size from the array, but knows unsigned ones only.
    elements = shuffled[:-1].view(f"u{dtype.itemsize}")
    image: NDArray[Any] = imagecodecs.bitshuffle_decode(elements, itemsize=dtype.itemsize, blocksize=block)
    return image.view(dtype).reshape(shape)


def _as_lz4_frame(payload: Bytes, blocks: int, block_bytes: int) -> tuple[Bytes, int]:
    """An LZ4 frame of the payload's blocks, their sizes little-endian; and where they end in the payload."""
    head = next((head for largest, head in _LZ4_FRAME_HEADS.items() if 2 * block_bytes <= largest), None)
    if head is None:
        raise FormatError(f"its bslz4 blocks of {block_bytes} bytes are larger than any that are in use")
    frame = np.empty(len(head) + payload.size + _SIZE, np.uint8)
    frame[: len(head)] = np.frombuffer(head, np.uint8)
    frame[len(head) : -_SIZE] = payload
    text, at = frame.data, 0
    for _ in range(blocks):
        size = _block_size(payload, at)
        place = len(head) + at
        text[place : place + _SIZE] = size.to_bytes(_SIZE, "little")
        at += _SIZE + size
    end = len(head) + at + _SIZE
    frame[end - _SIZE : end] = 0  # a frame's end: a block of no bytes
    return frame[:end], at


def _blosc(payload: Bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A c-blosc frame; its header states both sizes (c-blosc, README_CHUNK_FORMAT)."""
    out = np.empty(shape, dtype)
    stated, compressed = _number(payload, 4, 4, "little"), _number(payload, 12, 4, "little")
    if (stated, compressed) != (out.nbytes, payload.size):
        raise FormatError(
            f"its blosc frame states {compressed} bytes for {stated}, it has {payload.size} for {out.nbytes}"
        )
    _filled(imagecodecs.blosc_decode(payload, numthreads=1, out=_bytes(out).data), out.nbytes)
    return out


def _jpeg(payload: Bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.itemsize != 1 or len(shape) != 2:
        raise FormatError(f"jpeg holds one image of 8 bits, not {shape} {dtype}")
    if bytes(payload[-2:]) != b"\xff\xd9":  # the library fills what is cut off with grey
        raise FormatError("its jpeg has no end")
    out = np.empty(shape, np.uint8)
    imagecodecs.jpeg8_decode(payload, out=out)
    return out.view(dtype)


def _filled(decoded: Sized, size: int) -> None:
    if len(decoded) != size:
        raise FormatError(f"it holds {len(decoded)} bytes, its dimensions say {size}")


def _bytes(array: NDArray[Any]) -> Bytes:
    return array.reshape(-1).view(np.uint8)


def _block_size(payload: Bytes, at: int) -> int:
    """The size stated at `at` of a block that follows and lies in the payload."""
    size = _number(payload, at, _SIZE)
    if not 0 < size <= payload.size - at - _SIZE:
        raise FormatError(f"its block at byte {at} states {size} bytes; {payload.size - at} are left")
    return size


def _number(payload: Bytes, at: int, size: int, order: str = "big") -> int:
    """An unsigned integer of the payload; -1 where the payload is too short for it."""
    text = payload[at : at + size].tobytes()
    return int.from_bytes(text, order) if len(text) == size else -1  # type: ignore[arg-type]


_DECODERS: dict[str, Callable[[Bytes, tuple[int, ...], np.dtype[Any]], NDArray[Any]]] = {
    "lz4": _lz4,
    "bslz4": _bslz4,
    "blosc": _blosc,
    "jpeg": _jpeg,
}
