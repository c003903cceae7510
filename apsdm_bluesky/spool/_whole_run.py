"""A run whose documents are all there: on disk as a whole, or not at all."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apsdm_bluesky.durable import sync
from apsdm_bluesky.errors import FormatError

from ._codec import encode_line
from ._disk import storage_errors
from ._routes import Routes
from ._runfile import RunFile, run_file_name

Documents = Sequence[tuple[str, Mapping[str, Any]]]


def place_of(documents: Documents, folder: Path) -> Path:
    """Where a run's file lies in a session's folder.

    Raises
    ------
    FormatError
        The documents are no whole run: start, what belongs to it, stop.
    """
    names = [name for name, _ in documents]
    if len(names) < 2 or names[0] != "start" or names[-1] != "stop" or {"start", "stop"} & set(names[1:-1]):
        raise FormatError(f"{folder}: a whole run is one start document first, one stop document last")
    start = documents[0][1]
    path = folder / run_file_name(start)
    routes = Routes()
    routes.add("start", start, start["uid"])
    for name, doc in documents[1:]:
        routes.run_of(name, doc)
        routes.add(name, doc, start["uid"])
    return path


def write_whole_run(
    path: Path, documents: Documents, *, notes: Mapping[str, Any] | None, delivered: bool
) -> None:
    """Write a run's file, which has its name only when all of it, its notes and its marker are on the disk.

    What an attempt that was killed left behind is replaced.
    """
    run = RunFile(path, documents[0][1]["uid"])
    temporary = path.with_suffix(".new")
    with storage_errors(path, "create"):
        try:
            with temporary.open("wb") as file:
                file.writelines(encode_line(name, doc) for name, doc in documents)
            sync(temporary)
            for suffix in (".notes.json", ".delivered", ".refused", ".triggered"):
                path.with_suffix(suffix).unlink(missing_ok=True)
            if notes is not None:
                run.write_notes(dict(notes))
            if delivered:
                run.mark_delivered()
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync(path.parent)
