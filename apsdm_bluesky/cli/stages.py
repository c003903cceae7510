"""Stages of the shipped workflows: commands of ours, with those options only that the job has a value for.

A process's working folder becomes `$job_folder/<stage>` when the stage has ended well: files are told by the
names that they have then.
"""

import shlex
import sys
from pathlib import Path

from apsdm_bluesky.errors import ApsdmError

from . import app
from ._faults import run

__all__ = ["export", "export_frames", "import_result", "reduce", "restore"]

_Text = str | int | float


def restore(uid: _Text, restore_timeout_s: float) -> None:
    """Bring the run's files back where they were released."""
    _apsdm("archive", "restore", "--if-needed", f"--timeout={restore_timeout_s}", "--", uid)


def reduce(uid: _Text, rings: _Text = "", center: _Text = "", qmap: _Text = "") -> None:
    """Reduce the run again, and publish the result."""
    _apsdm("reduce", "--json", *_given(rings=rings, center=center, qmap=qmap), "--", uid)


def export(uid: _Text, job_folder: str, stage: str, folder: str = "", result_uid: str = "") -> None:
    """Write a result's file, into `folder` where there is one."""
    uid = result_uid or str(uid)
    name = f"{uid[:8]}_results.hdf"
    _apsdm("export", f"--out={Path(folder) / name}", "--", uid)
    _tell(file=Path(folder or Path(job_folder, stage), name))


def export_frames(uid: _Text, job_folder: str, stage: str, qmap: str = "", raw: str = "") -> None:
    """Write the run's frames and q-map for boost-corr; or tell the raw file that is there already."""
    if raw:
        if not qmap:
            raise ApsdmError(f"raw={raw}: needs a q-map, too; give qmap=FILE")
        _tell(raw=Path(raw), qmap=Path(qmap))
        return
    _apsdm("export-frames", "--json", *_given(qmap=qmap), "--", uid)
    (frames,) = [path for path in Path().iterdir() if path.suffix in {".bin", ".h5"}]
    _tell(raw=Path(job_folder, stage, frames.name), qmap=Path(job_folder, stage, "qmap.hdf"))


def import_result(uid: _Text, job_folder: str, producer: str) -> None:
    """Catalogue the one result that boost-corr has left."""
    found = sorted(Path(job_folder, "correlate").glob("*_results.hdf"))
    if len(found) != 1:
        raise ApsdmError(f"{job_folder}/correlate: holds {len(found)} result files; one was expected")
    _apsdm("import-result", "--json", f"--producer={producer}", f"--run={uid}", "--", str(found[0]))
    _tell(file=found[0])


def _given(**options: _Text) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items() if value != ""]


def _tell(**files: Path) -> None:
    for name, path in files.items():
        print(f"{name}: {path}")


def _apsdm(*words: _Text) -> None:
    """Run a command of ours, and end with it where it fails."""
    arguments = [str(word) for word in words]  # a uid of digits came as a number
    print("$", shlex.join(["apsdm", *arguments]), flush=True)
    if code := run(app, arguments):
        sys.exit(code)
