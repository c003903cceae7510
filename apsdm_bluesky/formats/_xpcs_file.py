"""XPCS results as one HDF5 file that NeXus tools and pyXpcsViewer open."""

import contextlib
import io
import os
from pathlib import Path

import h5py

from apsdm_bluesky.durable import sync
from apsdm_bluesky.errors import FormatError, StorageError

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
    content = xpcs_bytes(record)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        sync(part)
        if overwrite:
            part.replace(path)
        else:
            os.link(part, path)  # refuses a name that is taken, whoever was first
        sync(path.parent)
    except FileExistsError as error:
        raise StorageError(f"{path}: exists already; choose another name, or let it be replaced") from error
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(
            f"{path}: cannot be written ({reason}); choose another folder, or free space"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # the folder is none; told above
            part.unlink(missing_ok=True)


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
