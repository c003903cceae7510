"""`apsdm export-frames`: a run's frames as files for boost-corr."""

import io
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apsdm_bluesky.errors import StorageError

from ._options import ConfigOption, HomeOption, JsonOption, configured

if TYPE_CHECKING:
    from apsdm_bluesky.config import BeamlineConfig
    from apsdm_bluesky.tiled_config import RunFrames


def export_frames(
    uid: Annotated[str, typer.Argument(metavar="UID", help="A raw run's uid, or how it begins.")],
    to: Annotated[Path, typer.Option(help="The folder that gets the files.", show_default=False)] = Path(),
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
    path = to.absolute() / "qmap.hdf"
    if path.exists():
        raise StorageError(f"{path}: exists already; choose another folder with --to")
    raw = _write_frames(settings, uid, to.absolute(), path, qmap)
    told = {"raw": str(raw), "qmap": str(path)}
    print(json.dumps(told) if as_json else "\n".join(f"{key}: {value}" for key, value in told.items()))


def _write_frames(
    settings: "BeamlineConfig", uid: str, folder: Path, qmap_path: Path, qmap: Path | None
) -> Path:
    from apsdm_bluesky.formats import write_for_boost_corr
    from apsdm_bluesky.tiled_config import RunFrames

    from ._catalogue import find_run, latest_result, opened_catalogue

    with opened_catalogue(settings) as client:
        frames = RunFrames(find_run(client, uid))
        run = frames.start["uid"]
        if qmap is not None:
            shutil.copyfile(qmap, qmap_path)
        else:
            _write_qmap(latest_result(client, run), qmap_path)
        name = f"{frames.start.get('scan_id', 'scan')}_{run[:8]}"
        return write_for_boost_corr(folder, name, frames, _facts(frames))


def _write_qmap(result: Any, path: Path) -> None:
    """The q-map of a result, as in its file."""
    import h5py

    from ._export import xpcs_content

    with h5py.File(io.BytesIO(xpcs_content(result))) as source, h5py.File(path, "x") as target:
        source.copy("xpcs/qmap", target, "qmap")


def _facts(frames: "RunFrames") -> Any:
    from apsdm_bluesky.formats import RawRun, provenance_of

    raw = RawRun(start=frames.start, stop=frames.stop, configuration=frames.camera)
    start = {"raw_uid": frames.start["uid"], "frame_period_s": frames.period_s, "detector": frames.detector}
    return provenance_of(start, raw, {})
