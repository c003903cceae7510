"""The definition of multi-tau g2 in float64, slow and plain: the measure of the compiled reduction."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from apsdm_bluesky.model import FrameBatch
from apsdm_bluesky.reduction import QMap

REAL_FILE = Path(__file__).parents[2].parent / "shared" / "data" / "xpcs-speckle-100x256x256-uint16.npy.zip"


def batch(frames, indices=None, start=0):
    """A batch of frames, numbered from `start` unless indices are given."""
    if indices is None:
        indices = np.arange(start, start + len(frames))
    return FrameBatch(frames=np.asarray(frames), indices=np.asarray(indices, np.int64))


def push_split(reduction, frames, indices, cuts):
    """Push the frames in the pieces between the cuts (some may be empty)."""
    for part in np.split(np.arange(len(frames)), sorted(cuts)):
        reduction.push(batch(frames[part], indices[part]))
    return reduction


def real_frames():
    if not REAL_FILE.exists():
        pytest.skip("the real XPCS frames are not here")
    with zipfile.ZipFile(REAL_FILE) as archive:
        return np.load(io.BytesIO(archive.read(archive.namelist()[0])))


def reference_g2(frames, indices, qmap: QMap, delays_per_level=4):
    """(delay, valid pairs, g2 (nq,), g2_err (nq,)) of every delay."""
    length = int(indices[-1]) + 1 if len(indices) else 0
    level_frames = {int(i): frame.astype(np.float64) for i, frame in zip(indices, frames, strict=True)}
    rows, level = [], 0
    while length >> level:
        first = 1 if level == 0 else delays_per_level + 1
        for k in range(first, 2 * delays_per_level + 1):
            if (k << level) < (length >> level) << level:
                pairs = [n for n in level_frames if n + k in level_frames]
                rows.append((k << level, len(pairs), *_one_delay(level_frames, pairs, k, qmap)))
        level_frames = {
            n // 2: (level_frames[n] + level_frames[n + 1]) / 2
            for n in level_frames
            if n % 2 == 0 and n + 1 in level_frames
        }
        level += 1
    return rows


def _one_delay(level_frames, pairs, k, qmap):
    nq = len(qmap.q)
    g2, err = np.full(nq, np.nan), np.full(nq, np.nan)
    if not pairs:
        return g2, err
    G2 = sum(level_frames[n] * level_frames[n + k] for n in pairs) / len(pairs)
    IP = sum(level_frames[n] for n in pairs) / len(pairs)
    IF = sum(level_frames[n + k] for n in pairs) / len(pairs)
    for i in range(nq):
        inside = qmap.dynamic == i + 1
        ratios = []
        for s in np.unique(qmap.static[inside]):
            pixels = inside & (qmap.static == s)
            norm = IP[pixels].mean() * IF[pixels].mean()
            if norm > 0:
                ratios.append(G2[pixels].mean() / norm)
        lit = inside & (IP * IF > 0)
        if ratios:
            g2[i] = np.mean(ratios)
        if lit.sum() > 1:
            err[i] = np.std((G2[lit] / (IP[lit] * IF[lit])), ddof=1) / np.sqrt(lit.sum())
    return g2, err
