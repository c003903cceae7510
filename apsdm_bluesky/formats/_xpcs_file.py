"""XPCS results as one HDF5 file that NeXus tools and pyXpcsViewer open."""

import io
from pathlib import Path

import h5py

from apsdm_bluesky.durable import write_whole
from apsdm_bluesky.errors import FormatError

from ._xpcs_layout import fill
from ._xpcs_record import XpcsRecord


def write_xpcs(path: Path, record: XpcsRecord, *, overwrite: bool = False) -> None:
    """Write a result file: NXxpcs and the layout of pyXpcsViewer, with links for what both have.

    The file has its name only when it is whole and on the disk. The same record gives the same bytes (with
    the same HDF5 library): nothing in it tells when it was written.

    Raises
    ------
    FormatError
        As `xpcs_bytes`.
    StorageError
        A file of that name exists and `overwrite` is False, or it cannot be written.
    """
    write_whole(path, xpcs_bytes(record), overwrite=overwrite)


def xpcs_bytes(record: XpcsRecord) -> bytes:
    """The content of the file that `write_xpcs` writes.

    Raises
    ------
    FormatError
        A text or a number in it has no place in HDF5.
    """
    buffer = io.BytesIO()
    try:
        with h5py.File(buffer, "w") as file:
            fill(file, record)
    except (TypeError, ValueError, OverflowError) as error:  # all h5py has for what it cannot store
        raise FormatError(
            f"result {record.provenance.identifier!r} cannot be stored as HDF5 ({error}); mend its metadata"
        ) from error
    return buffer.getvalue()
