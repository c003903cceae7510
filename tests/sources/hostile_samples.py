"""NTNDArrays as mappings, to be spoilt; payloads compressed by libraries that the package does not use."""

import io
import struct

import h5py
import hdf5plugin
import lz4.block
import numcodecs
import numpy as np
from PIL import Image

MEMBERS = {
    "ubyteValue": "u1",
    "byteValue": "i1",
    "ushortValue": "u2",
    "shortValue": "i2",
    "uintValue": "u4",
    "intValue": "i4",
    "ulongValue": "u8",
    "longValue": "i8",
    "floatValue": "f4",
    "doubleValue": "f8",
}
DTYPES = [np.dtype(name) for name in MEMBERS.values()]
_MEMBER_OF = {np.dtype(name): member for member, name in MEMBERS.items()}
_SCALAR_TYPES = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")  # pvData, from 1 on
CODECS = [
    "lz4",
    "lz4 chunk",
    "bslz4",
    "bslz4 chunk",
    *(f"blosc {name}" for name in ("blosclz", "lz4", "lz4hc", "zlib", "zstd")),
]


def ntndarray(data, *, codec="", unique_id=7, attributes=None):
    """The message that areaDetector would send of an image (ny, nx), a stack (n, ny, nx) or words (m,).

    `codec` is one of `CODECS`, or ``jpeg``.
    """
    payload = compressed(codec, data) if codec else data.ravel()
    scalar_type = _SCALAR_TYPES.index(f"{data.dtype.kind}{data.dtype.itemsize}") + 1
    return {
        "uniqueId": unique_id,
        "value": ({_MEMBER_OF[payload.dtype]: payload},),
        "dimension": dimensions(*data.shape[::-1]),
        "codec": {"name": codec.split(" ")[0], "parameters": ({"value": scalar_type},)},
        "compressedSize": payload.nbytes if codec else 123,  # what stands there without a codec is stale
        "uncompressedSize": data.nbytes,
        "timeStamp": {"secondsPastEpoch": 1000, "nanoseconds": 500_000_000, "userTag": 0},
        "attribute": [attribute(*item) for item in ({"ColorMode": 0} | (attributes or {})).items()],
    }


def dimensions(*sizes):
    return [{"size": size, "fullSize": size, "offset": 0, "binning": 1, "reverse": False} for size in sizes]


def attribute(name, value):
    return {"name": name, "value": ({"value": value},)}


def events(words, *, first=100, frames=4, nx=3, ny=2, **options):
    """Packed events from (frame, pixel, count) triples, or from words."""
    packed = [frame << 40 | pixel << 16 | count for frame, pixel, count in words]
    attributes = {"FirstFrame": first, "NumFrames": frames, "SensorX": nx, "SensorY": ny}
    return ntndarray(np.array(packed, np.uint64), attributes=attributes, **options)


def compressed(codec, data):
    """The payload, uint8."""
    return np.frombuffer(_compressed(codec, np.ascontiguousarray(data)), np.uint8)


def _compressed(codec, data):
    kind, _, variant = codec.partition(" ")
    if kind == "lz4":
        block = lz4.block.compress(data.tobytes(), store_size=False)
        return struct.pack(">QII", data.nbytes, data.nbytes, len(block)) + block if variant else block
    if kind == "bslz4":
        chunk = hdf5_chunk(data, hdf5plugin.Bitshuffle(cname="lz4"))
        return chunk if variant else chunk[12:]
    if kind == "blosc":
        return numcodecs.Blosc(cname=variant, clevel=5, shuffle=numcodecs.Blosc.SHUFFLE).encode(data)
    text = io.BytesIO()
    Image.fromarray(data.view(np.uint8)).save(text, "jpeg", quality=95)
    return text.getvalue()


def hdf5_chunk(data, filters):
    """The bytes that HDF5 stores of `data`, in one chunk."""
    with h5py.File(io.BytesIO(), "w") as file:
        dataset = file.create_dataset("data", data=data.ravel(), chunks=(data.size,), **filters)
        return dataset.id.read_direct_chunk((0,))[1]
