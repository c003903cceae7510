"""Addresses of files, as the documents and the catalogue tell them."""

import os
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from apsdm_bluesky.errors import FormatError


def file_uri(path: Path) -> str:
    """The address of a file: ``file://localhost/...``, with whatever has a meaning in addresses quoted."""
    return f"file://localhost{quote(os.fspath(path))}"


def uri_path(uri: str) -> Path:
    """The file of an address.

    Raises
    ------
    FormatError
        It is the address of no file on this machine.
    """
    parts = urlsplit(uri)
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or "\0" in path:
        raise FormatError(f"{uri!r}: is the address of no file on this machine; use file://localhost/...")
    return Path(path)
