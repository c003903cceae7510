"""Runs in a spool with raw frames on disk, as a session leaves them."""

from pathlib import Path
from typing import Any

import numpy as np
import zarr

from apsdm_bluesky.callbacks import CatalogWriter, GlobusArchiver
from apsdm_bluesky.config import ArchiveConfig, BeamlineConfig
from apsdm_bluesky.spool import RunFile, Spool

TIME = 1_700_000_000.0  # 2023-11-14


class SampleBeamline:
    """A state folder with a spool session, fed through CatalogWriter and GlobusArchiver."""

    def __init__(self, home: Path, **archive: Any) -> None:
        self.config = BeamlineConfig(home=home, name="test", archive=ArchiveConfig(**archive))
        self.folders = self.config.folders
        self.session = Spool(self.folders.spool).open_session()
        archiver = GlobusArchiver(self.session, collection=self.config.archive.collection)
        self._callbacks = (CatalogWriter(self.session, None), archiver)

    def emit(self, name: str, /, **doc: Any) -> None:
        for callback in self._callbacks:
            callback(name, doc)

    def start(self, uid: str, **start: Any) -> None:
        self.emit("start", uid=uid, time=TIME, **start)
        self.emit(
            "descriptor", uid=f"{uid}-d", run_start=uid, time=TIME, name="primary", data_keys={}, hints={}
        )

    def refer(self, uid: str, uri: str, *, rows: int = 0, mimetype: str = "application/x-zarr") -> None:
        """Documents that claim `rows` rows of external data."""
        self.emit(
            "stream_resource",
            uid=f"{uid}-r-{uri[-20:]}",
            run_start=uid,
            uri=uri,
            mimetype=mimetype,
            parameters={},
            data_key="image",
        )
        self.emit(
            "stream_datum",
            uid=f"{uid}-r-{uri[-20:]}/0",
            stream_resource=f"{uid}-r-{uri[-20:]}",
            descriptor=f"{uid}-d",
            indices={"start": 0, "stop": rows},
            seq_nums={"start": 1, "stop": rows + 1},
        )

    def stop(self, uid: str, exit_status: str = "success") -> None:
        self.emit("stop", uid=f"{uid}-stop", run_start=uid, time=TIME + 1, exit_status=exit_status)

    def write_frames(self, name: str, rows: int = 10) -> Path:
        """A Zarr array of noise in a group; returns the array's folder."""
        group = self.folders.raw / f"{name}.zarr"
        array = zarr.create_group(store=str(group)).create_array(
            "image", shape=(rows, 8, 8), chunks=(4, 8, 8), dtype="u2"
        )
        array[:] = np.random.default_rng(1).integers(1, 60000, array.shape, dtype="u2")
        return group / "image"

    def take(self, uid: str, *, rows: int = 10, **start: Any) -> Path:
        """A whole run with frames; returns the folder of its array."""
        frames = self.write_frames(uid, rows)
        self.start(uid, **start)
        self.refer(uid, f"file://localhost{frames}", rows=rows)
        self.stop(uid)
        return frames

    def run(self, uid: str) -> RunFile:
        return next(run for run in self.session.runs() if run.uid == uid)
