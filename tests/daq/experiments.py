"""Experiments with files in a server's folder, handed to its catalogue."""

import contextlib
import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.daq import Daq, DaqFile, FileState, Kind, run_documents
from apsdm_bluesky.spool import Delivery, Spool
from tests.servers import RunningServer


class Files:
    """The files of one experiment that a DAQ has stored."""

    def __init__(self, config: BeamlineConfig, name: str | None = None, **daq: Any) -> None:
        self.config = config
        self.name = name or f"e{uuid.uuid4().hex}"
        root = config.experiments_root / self.name
        self.data = root / "data"
        self.data.mkdir(parents=True)
        self.daq = Daq(
            id=uuid.uuid4().hex,
            kind=Kind.UPLOAD,
            experiment=self.name,
            station=config.station,
            source=Path("/detector"),
            root=root,
            owner="eva",
            created=1.0,
            **daq,
        )

    def write(self, path: str, content: bytes) -> DaqFile:
        """Store a file as a DAQ does."""
        place = self.data / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return self.stored(path)

    def stored(self, path: str, **more: Any) -> DaqFile:
        """What a DAQ knows of a file that is there."""
        place = self.data / path
        info = place.stat()
        fields = {
            "name": path,
            "size": info.st_size,
            "mtime_ns": info.st_mtime_ns,
            "sha256": hashlib.sha256(place.read_bytes()).hexdigest(),
        }
        return DaqFile(path=path, state=FileState.STORED, **fields | more)

    def stored_without_reading(self, path: str) -> DaqFile:
        """Of a file that is too large to be hashed here."""
        info = (self.data / path).stat()
        return DaqFile(
            name=path, path=path, state=FileState.STORED, size=info.st_size, mtime_ns=info.st_mtime_ns
        )

    def run(self, *files: DaqFile, uid: str | None = None) -> list[tuple[str, dict[str, Any]]]:
        """Documents of one run."""
        return run_documents(self.daq, files, uid=uid or uuid.uuid4().hex, time=1.6e9, beamline="test")

    def deliver(self, server: RunningServer, *files: DaqFile, uid: str | None = None) -> None:
        """Bring the files of one run into the server's catalogue."""
        with delivered(server, self.run(*files, uid=uid)):
            pass


@contextlib.contextmanager
def delivered(server: RunningServer, *runs: Any, uri: str | None = None) -> Iterator[Spool]:
    """A spool all of whose runs were delivered or refused."""
    spool = Spool(server.config.folders.root / f"spool-{uuid.uuid4().hex}")
    session = spool.open_session()
    try:
        for documents in runs:
            session.put_run(documents)
        delivery = Delivery(session, uri or server.uri, server.api_key)
        delivery.start()
        done = delivery.wait_idle(120)
        delivery.close(0)
        assert done
        assert [run.refused for run in spool.runs()] == [None] * len(runs)
        yield spool
    finally:
        session.close()
