"""Folders as people and detectors leave them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apsdm_bluesky.daq._source import Source

_NOBODY = 65534


def write(path: Path, content: bytes = b"content") -> Path:
    """A file, with the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@contextmanager
def as_nobody() -> Iterator[None]:
    """Permissions count: root, who may read everything, is somebody else meanwhile."""
    if os.geteuid():
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def open_descriptors() -> int:
    """How many this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def read(source: Source, name: str) -> bytes:
    """The whole of a file below a watched folder."""
    with os.fdopen(source.open(name), "rb") as file:
        return file.read()
