"""What a file is, as its name tells."""

from pathlib import PurePosixPath

HDF5 = "application/x-hdf5"
TIFF = "image/tiff"
RIGAKU = "application/x-rigaku-bin"
BYTES = "application/octet-stream"

_BY_SUFFIX = {
    **dict.fromkeys((".h5", ".hdf5", ".hdf", ".nxs"), HDF5),
    **dict.fromkeys((".tif", ".tiff"), TIFF),
    ".bin": RIGAKU,
}


def mimetype_of(name: str) -> str:
    """The media type by the suffix, in letters of any case. A `.bin` file may be anything: look into it."""
    return _BY_SUFFIX.get(PurePosixPath(name).suffix.lower(), BYTES)
