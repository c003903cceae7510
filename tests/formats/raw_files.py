"""Raw files as detectors write them, made without the code under test."""

import struct

import h5py
import hdf5plugin  # noqa: F401 - filters
import numpy as np

RNG = np.random.default_rng(7)
# File number -> place (row, column) of the module in the image, written out by hand.
MODULE_CORNERS = {
    5: (0, 0),
    0: (0, 1076),
    4: (582, 0),
    1: (582, 1076),
    3: (1164, 0),
    2: (1164, 1076),
}


def photons(frames, ny, nx, mean=0.002, seed=1):
    return np.random.default_rng(seed).poisson(mean, (frames, ny, nx)).astype(np.uint16)


def rigaku_words(frames, first=0, flag=0):
    """The bytes of a Rigaku file: frame << 40 | pixel << 16 | count."""
    out = bytearray()
    for number, frame in enumerate(frames, first):
        for pixel in np.flatnonzero(frame):
            out += struct.pack("<Q", number << 40 | flag | int(pixel) << 16 | int(frame.ravel()[pixel]))
    return bytes(out)


def imm_header(rows, columns, *, sparse, length, elapsed=0.0):
    head = bytearray(1024)
    struct.pack_into("<ii", head, 0, 2, 6 if sparse else 0)
    struct.pack_into("<iiid", head, 108, rows, columns, 2, 0)
    struct.pack_into("<d", head, 128, elapsed)
    struct.pack_into("<I", head, 152, length)
    return bytes(head)


def imm(frames, *, sparse, period=0.01):
    out = b""
    for number, frame in enumerate(frames):
        flat = frame.ravel()
        pixels = np.flatnonzero(flat) if sparse else np.arange(flat.size)
        out += imm_header(*frame.shape, sparse=sparse, length=len(pixels), elapsed=1 + number * period)
        if sparse:
            out += pixels.astype("<i4").tobytes() + flat[pixels].astype("<i2").tobytes()
        else:
            out += flat.astype("<u2").tobytes()
    return out


def area_detector(path, frames, *, ids=None, times=None, **options):
    """As NDFileHDF5 does; times in seconds since 1990."""
    with h5py.File(path, "w") as file:
        file.create_dataset("/entry/data/data", data=frames, **options)
        group = file.create_group("/entry/instrument/NDAttributes")
        if ids is not None:
            group["NDArrayUniqueId"] = np.asarray(ids, np.int32)
        if times is not None:
            group["NDArrayEpicsTSSec"] = np.floor(times).astype(np.uint32)
            group["NDArrayEpicsTSnSec"] = np.round(np.mod(times, 1) * 1e9).astype(np.uint32)
    return path
