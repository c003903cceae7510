"""Stored files as the documents of one run."""

import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from apsdm_bluesky.errors import DaqError
from apsdm_bluesky.spool import file_uri

from ._daq import Daq, DaqFile
from ._kinds import BYTES, RIGAKU, mimetype_of

Documents = list[tuple[str, dict[str, Any]]]


def run_documents(daq: Daq, files: Sequence[DaqFile], *, uid: str, time: float, beamline: str) -> Documents:
    """A whole run, start to stop, that refers to files in an experiment's folder.

    The same arguments give the same documents. The start document has `files: true`: such runs are not
    written to `/raw`, but their files are registered under `/files`. Each file has a stream_resource and a
    stream_datum; the latter tells its hash, where there is one.

    Parameters
    ----------
    files
        That are stored.
    uid, time
        Of the run; the time in seconds since the Unix epoch.

    Raises
    ------
    DaqError
        A file is not stored, or not in the experiment's folder.
    """
    run = _Run(daq, uid=uid, time=time)
    documents: Documents = [("start", run.start(beamline)), ("descriptor", run.descriptor())]
    for number, file in enumerate(files, 1):
        documents += run.file(number, file)
    return [*documents, ("stop", run.stop(len(files)))]


class _Run:
    """Makes the documents of one run."""

    def __init__(self, daq: Daq, *, uid: str, time: float) -> None:
        self._daq = daq
        self._uid = uid
        self._time = time
        self._namespace = uuid.uuid5(uuid.NAMESPACE_OID, uid)

    def start(self, beamline: str) -> dict[str, Any]:
        daq = self._daq
        return {
            "uid": self._uid,
            "time": self._time,
            "plan_name": daq.kind.value,
            "experiment": daq.experiment,
            "station": daq.station,
            "beamline": beamline,
            "daq": daq.id,
            "owner": daq.owner,
            "files": True,
        }

    def descriptor(self) -> dict[str, Any]:
        key = {"source": "files", "dtype": "array", "shape": [], "external": "STREAM:"}
        return {
            "uid": self._name("files"),
            "run_start": self._uid,
            "time": self._time,
            "name": "files",
            "data_keys": {"file": key},
            "object_keys": {},
            "configuration": {},
            "hints": {},
        }

    def file(self, number: int, file: DaqFile) -> Iterator[tuple[str, dict[str, Any]]]:
        """An empty file has no rows: the archive takes it none the less."""
        place, name = self._place(file)
        resource = self._name(f"file {number}")
        yield (
            "stream_resource",
            {
                "uid": resource,
                "run_start": self._uid,
                "data_key": "file",
                "mimetype": _mimetype(place, file.size),
                "uri": file_uri(place),
                "parameters": {
                    "name": name,
                    "version": file.version,
                    "size": file.size,
                    "sha256": file.sha256,
                    "mtime": file.mtime_ns / 1e9,
                },
            },
        )
        datum: dict[str, Any] = {
            "uid": f"{resource}/0",
            "stream_resource": resource,
            "descriptor": self._name("files"),
            "indices": {"start": 0, "stop": 1 if file.size else 0},
            "seq_nums": {"start": number, "stop": number + 1},
        }
        if file.sha256 is not None:
            datum["files"] = [[place.relative_to(self._daq.root.parent).as_posix(), file.size, file.sha256]]
        yield "stream_datum", datum

    def stop(self, count: int) -> dict[str, Any]:
        return {
            "uid": self._name("stop"),
            "time": self._time,
            "run_start": self._uid,
            "exit_status": "success",
            "reason": "",
            "num_events": {"files": count},
        }

    def _place(self, file: DaqFile) -> tuple[Path, str]:
        """Where the file is, and its path under `data`, else under the experiment's folder."""
        root = Path(os.path.normpath(self._daq.root))
        data = root / "data"
        if file.path is None:
            raise DaqError(f"{file.name}: is not stored, so it belongs to no run; wait until it is")
        place = Path(os.path.normpath(data / file.path))
        if place == root or not place.is_relative_to(root):
            raise DaqError(f"{place}: is not in the experiment's folder {root}; move it there")
        return place, place.relative_to(data if place.is_relative_to(data) else root).as_posix()

    def _name(self, what: str) -> str:
        return str(uuid.uuid5(self._namespace, what))


def _mimetype(place: Path, size: int) -> str:
    mimetype = mimetype_of(place.name) if size else BYTES
    if mimetype != RIGAKU:
        return mimetype
    from apsdm_bluesky.formats import looks_like_rigaku  # takes seconds to load

    return RIGAKU if looks_like_rigaku(place) else BYTES
