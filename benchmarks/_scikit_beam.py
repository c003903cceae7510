"""scikit-beam as a peer, in a virtual environment of its own: it needs other packages than we do.

It is made on first use in `results/scikit-beam-<version>`. Where that is not possible (no network, no
compiler) the bench goes on without this peer and says so.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._bench import Measure, Sample

VERSION = "0.0.27"
_ENVIRONMENT = Path(__file__).parent / "results" / f"scikit-beam-{VERSION}"
_FRAMES = 256  # it takes seconds for these; its rate does not depend on their number
_INSTALL_TIMEOUT_S = 600
_NOTE = (
    f"scikit-beam {VERSION}, lazy_one_time, in a process of its own, {_FRAMES} frames; its delays and "
    "normalisation differ, and it gives g2 after every frame"
)

# Runs in the other environment. It is warmed up, then answers each line of input with a rate.
_SCRIPT = """
import sys, time
import numpy as np
from skbeam.core.correlation import lazy_one_time
frames, labels = np.load(sys.argv[1]), np.load(sys.argv[2])
levels, buffers = int(sys.argv[3]), int(sys.argv[4])
def run(part):
    for result in lazy_one_time(part, levels, buffers, labels):
        pass
    return result
run(frames[:16])
print("ready", flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    run(frames)
    print(len(frames) / (time.perf_counter() - start), flush=True)
"""


@contextmanager
def peer(
    frames: NDArray[Any], labels: NDArray[np.int32], *, buffers: int
) -> Iterator[tuple[Measure | None, str]]:
    """scikit-beam's `lazy_one_time` on the first of these frames, or None where there is none; and a note."""
    problem = _install()
    if problem:
        yield None, f"scikit-beam {VERSION} could not be installed, so it is not measured: {problem}"
        return
    levels = int(np.log2(_FRAMES / buffers)) + 1
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / "frames.npy", Path(folder) / "labels.npy"]
        np.save(files[0], frames[:_FRAMES])
        np.save(files[1], labels)
        command = [str(_python()), "-c", _SCRIPT, *map(str, files), str(levels), str(buffers)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            _answer(child)
            yield lambda: Sample(value=float(_ask(child))), _NOTE


def _ask(child: "subprocess.Popen[str]") -> str:
    if child.stdin is None:
        raise RuntimeError("scikit-beam's process has no input")
    child.stdin.write("\n")
    child.stdin.flush()
    return _answer(child)


def _answer(child: "subprocess.Popen[str]") -> str:
    if child.stdout is None or not (line := child.stdout.readline()):
        raise RuntimeError("scikit-beam's process ended; what it wrote stands above")
    return line


def _python() -> Path:
    return _ENVIRONMENT / "bin" / "python"


def _install() -> str:
    """Make the environment unless it is there; what went wrong, or nothing."""
    done = _ENVIRONMENT / "installed.json"
    if done.exists():
        return ""
    print(f"installing scikit-beam {VERSION} for comparison, once ...", flush=True)
    shutil.rmtree(_ENVIRONMENT, ignore_errors=True)
    steps = [
        [sys.executable, "-m", "venv", str(_ENVIRONMENT)],
        [str(_python()), "-m", "pip", "install", "--quiet", f"scikit-beam=={VERSION}"],
        [str(_python()), "-c", "from skbeam.core.correlation import lazy_one_time"],
    ]
    try:
        for step in steps:
            subprocess.run(step, check=True, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"not installed within {_INSTALL_TIMEOUT_S} s"
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or ["no message"]
        return str(next((line for line in lines if "error" in line.lower()), lines[-1])).strip()
    done.write_text(json.dumps({"version": VERSION}))
    return ""
