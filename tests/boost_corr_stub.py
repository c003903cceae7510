"""Stands in for the program `boost_corr`: its options, and a result in its layout by our reduction."""

import argparse
import shutil
from pathlib import Path

import h5py
import numpy as np

from apsdm_bluesky.formats import open_frames, read_qmap
from apsdm_bluesky.reduction import MultiTau, Saxs

parser = argparse.ArgumentParser()
parser.add_argument("--version", action="version", version="boost_corr 0.0.1")
parser.add_argument("-r", type=Path, required=True)
parser.add_argument("-q", type=Path, required=True)
parser.add_argument("-o", type=Path, required=True)
parser.add_argument("-t", choices=["Multitau", "Twotime", "Both"], default="Multitau")
parser.add_argument("-i", type=int, default=-1)
parser.add_argument("-nf", type=int, choices=[0, 1], default=1)
parser.add_argument("--crop-ratio-threshold", type=float, default=0.5)
parser.add_argument("-w", action="store_true")


def main() -> None:
    given = parser.parse_args()
    (metadata,) = given.r.parent.glob("*_metadata.hdf")
    with h5py.File(metadata) as file:
        assert "/entry/schema_version" in file
    qmap, frames = read_qmap(given.q), open_frames(given.r)
    multitau, saxs, totals = MultiTau(qmap), Saxs(qmap), []
    for batch in frames.batches(64):
        multitau.push(batch)
        saxs.push(batch)
        totals += np.sum(batch.frames, axis=(1, 2)).tolist()
    result = multitau.result()
    path = given.o / f"{given.r.stem}_results.hdf"
    shutil.copyfile(metadata, path)
    with h5py.File(given.q) as source, h5py.File(path, "a") as file:
        source.copy("/qmap", file, name="/xpcs/qmap")
        file["xpcs/multitau/delay_list"] = result.delays
        file["xpcs/multitau/normalized_g2"] = result.g2.astype(np.float32)
        file["xpcs/multitau/normalized_g2_err"] = result.g2_err.astype(np.float32)
        file["xpcs/multitau/config/avg_frame"] = 1
        file["xpcs/multitau/config/stride_frame"] = 1
        file["xpcs/multitau/config/type"] = given.t
        file["xpcs/temporal_mean/scattering_1d"] = saxs.result().intensity[np.newaxis]
        file["xpcs/spatial_mean/intensity_vs_time"] = np.stack([np.arange(len(totals)), totals])


if __name__ == "__main__":
    main()
