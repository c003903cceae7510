"""`apsdm export-frames`: a run's frames as files for boost-corr."""

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apsdm_bluesky.durable import write_whole
from apsdm_bluesky.errors import StorageError

from ._options import ConfigOption, HomeOption, JsonOption, configured

if TYPE_CHECKING:
    from apsdm_bluesky.config import BeamlineConfig
    from apsdm_bluesky.tiled_config import RunFrames


def export_frames(
    uid: Annotated[str, typer.Argument(metavar="UID", help="A raw run's uid, or how it begins.")],
    to: Annotated[
        Path | None,
        typer.Option(help="The folder that gets the files; default: this one.", show_default=False),
    ] = None,
    qmap: Annotated[
        Path | None,
        typer.Option(
            help="A q-map to be put beside; default: the latest result's, with its mask.", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a run's frames, metadata and q-map into files that boost-corr reads.

    A run that lacks frames is refused: no file can tell of a gap.
    """
    settings = configured(config, home)
    folder = (to or Path()).absolute()
    bins = folder / "qmap.hdf"
    if bins.exists():
        raise StorageError(f"{bins}: exists already; choose another folder with --to")
    raw = _write(settings, uid, folder, bins, qmap)
    told = {"raw": str(raw), "qmap": str(bins)}
    print(json.dumps(told) if as_json else "\n".join(f"{key}: {value}" for key, value in told.items()))


def _write(settings: "BeamlineConfig", uid: str, folder: Path, bins: Path, qmap: Path | None) -> Path:
    """Write frames and q-map; what cannot be had is told before anything is written."""
    from apsdm_bluesky.formats import read_qmap, write_for_boost_corr
    from apsdm_bluesky.tiled_config import RunFrames

    from ._catalogue import find_run, latest_result, opened_catalogue

    with opened_catalogue(settings) as client:
        frames = RunFrames(find_run(client, uid))
        run = frames.start["uid"]
        if qmap is None:
            content = _qmap_of(latest_result(client, run))
        else:
            read_qmap(qmap)
            content = qmap.read_bytes()
        name = f"{frames.start.get('scan_id', 'scan')}_{run[:8]}"
        path = write_for_boost_corr(folder, name, frames, _facts(frames))
    write_whole(bins, content)
    return path


def _qmap_of(result: Any) -> bytes:
    """The file of a result's q-map."""
    import h5py

    from ._export import xpcs_content

    buffer = io.BytesIO()
    with h5py.File(io.BytesIO(xpcs_content(result))) as source, h5py.File(buffer, "w") as target:
        source.copy("xpcs/qmap", target, "qmap")
    return buffer.getvalue()


def _facts(frames: "RunFrames") -> Any:
    from apsdm_bluesky.formats import RawRun, provenance_of

    raw = RawRun(start=frames.start, stop=frames.stop, configuration=frames.camera)
    start = {"raw_uid": frames.start["uid"], "frame_period_s": frames.period_s, "detector": frames.detector}
    return provenance_of(start, raw, {})
