"""boost-corr, the reduction in use at APS 8-ID, as a peer on the CPU.

Its own default is bfloat16 where counts are low, good to 4e-4 in g2; float32 has no option and is set from
outside. Version 0.1.7 reads HDF5 with several processes into one buffer, which mixes batches up unless it
crops each to the used pixels: it does below `crop_ratio_threshold`. Rigaku files come in batches of 1,024
frames, which do not fit its queues in float32 and 11 GB: with more frames they need bfloat16.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ._bench import Sample
from ._peer_environment import Peer, PeerProcess

_TORCH = "2.13.0"
PEER = Peer(
    name="boost-corr",
    version="0.1.7",
    installs=[
        # The build for CPUs, where the package index has it; the common one brings CUDA and is far larger.
        [[f"torch=={_TORCH}+cpu"], [f"torch=={_TORCH}"]],
        [["numpy", "scipy", "h5py", "hdf5plugin", "psutil", "tqdm", "nvidia-ml-py", "filelock"]],
        # It asks for Python 3.12 and for packages that it does not import.
        [["boost-corr==0.1.7", "--no-deps", "--ignore-requires-python"]],
    ],
    check="from boost_corr.xpcs_aps_8idi.gpu_corr_multitau import solve_multitau",
)
Dtype = Literal["float32", "default"]
_MAX_MEMORY_GB = 11  # with less its queues are too short to be fast; the default is 36

# Runs in the other environment.
_SCRIPT = """
import json, sys, time
import numpy as np
import torch
import boost_corr.multitau
from boost_corr.multitau import MultitauCorrelator
from boost_corr.xpcs_aps_8idi.gpu_corr_multitau import solve_multitau

torch.set_num_threads(int(sys.argv[1]))
default_dtypes = boost_corr.multitau.compute_dtype
def float32(max_count, levels):
    return [[torch.float32, 4] for _ in levels]
spent = {}
process = MultitauCorrelator.process_dataset
def timed(self, dataset, *args, **kwargs):
    start = time.perf_counter()
    process(self, dataset, *args, **kwargs)
    spent.update(frames=int(dataset.frame_num), correlated_s=time.perf_counter() - start)
MultitauCorrelator.process_dataset = timed

print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    boost_corr.multitau.compute_dtype = float32 if asked["dtype"] == "float32" else default_dtypes
    start = time.perf_counter()
    _, (_, multitau) = solve_multitau(
        raw=asked["raw"], qmap=asked["qmap"], gpu_id=-1, normalize_frame=False, crop_ratio_threshold=1.01,
        num_loaders=int(sys.argv[1]), max_memory=float(sys.argv[2]), save_results=False,
    )
    spent["whole_s"] = time.perf_counter() - start
    np.savez(asked["result"], **{key: multitau[key] for key in ("delay_list", "g2", "g2_err")})
    print(json.dumps(spent), flush=True)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class G2:
    """Its result: delays (nt,) [frames], g2 and g2_err (nt, nq)."""

    delays: NDArray[np.int64]
    g2: NDArray[np.float32]
    g2_err: NDArray[np.float32]


class BoostCorr:
    """A process with boost-corr."""

    def __init__(self, process: PeerProcess) -> None:
        self._process = process

    def run(self, raw: Path, qmap: Path, dtype: Dtype) -> tuple[Sample, G2]:
        """Frames/s of the correlation alone, without set-up and read-out, as it tells its own; and g2."""
        result = raw.with_name(f"{raw.name}.npz")
        spent = self._process.ask(raw=str(raw), qmap=str(qmap), dtype=dtype, result=str(result))
        sample = Sample(value=spent["frames"] / spent["correlated_s"], extra={"whole s": spent["whole_s"]})
        with np.load(result) as arrays:
            return sample, G2(delays=arrays["delay_list"], g2=arrays["g2"], g2_err=arrays["g2_err"])


@contextmanager
def peer(threads: int) -> Iterator[tuple[BoostCorr | None, str]]:
    """boost-corr, or None where it cannot be installed; and a note."""
    problem = PEER.install()
    if problem:
        yield None, f"{PEER.title} could not be installed, so it is not measured: {problem}"
        return
    note = (
        f"{PEER.title} in a process of its own on the CPU: {threads} threads, {threads} loaders, max_memory "
        f"{_MAX_MEMORY_GB} GB; the time it correlates alone counts, without its set-up and read-out"
    )
    with PEER.process(_SCRIPT, str(threads), str(_MAX_MEMORY_GB)) as process:
        yield BoostCorr(process), note
