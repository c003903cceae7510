"""A result as the exporter takes it: every number different, so that none can stand in another's place."""

import dataclasses

import numpy as np

from apsdm_bluesky.formats import Provenance, TwoTimeMaps, XpcsRecord
from apsdm_bluesky.reduction import Geometry, QMap

SHAPE = (30, 40)
FRAMES, DELAYS, BINS = 50, 9, 2
GEOMETRY = Geometry(center=(19.5, 14.25), distance_m=4.0, energy_kev=10.9, pixel_size_m=75e-6)
PROVENANCE = Provenance(
    identifier="17",
    raw_uid="6a204bd8-1c1f-4a6c-a1b5-2ee9a0b1d3c4",
    result_uid="0c8b1df5-7c3a-4a30-9d8c-9a53b1f1f9d2",
    scan_id=17,
    start_time="2026-03-01T08:00:00.000000+00:00",
    end_time="2026-03-01T08:01:00.000000+00:00",
    frame_period_s=0.002,
    exposure_s=0.0015,
    energy_kev=8.0,
    detector="lambda",
    sample="silica",
    metadata={"proposal": "p-1"},
    software={"apsdm-bluesky": "0.1.0", "numpy": "2.1"},
    configuration={"delays_per_level": 4},
    ledger={"expected": 50, "accepted": 50, "reason": ""},
)
QMAP = QMap.rings(SHAPE, (19.5, 14.25), dynamic_bins=BINS, static_per_dynamic=3)
PLACED = QMap.partition(SHAPE, GEOMETRY, dynamic_bins=BINS, phi_bins=4)


def two_time(rows=12, width=4):
    c2 = np.random.default_rng(3).uniform(1, 2, (BINS, rows, rows))
    return TwoTimeMaps(bins=np.array([1, 2]), c2=c2 + c2.transpose(0, 2, 1), width=width)


def record(qmap=QMAP, **changes):
    random = np.random.default_rng(7)
    counts = random.poisson(0.5, (FRAMES, *SHAPE))
    shape = (DELAYS, len(qmap.q))
    values = {
        "provenance": PROVENANCE,
        "qmap": qmap,
        "frames": FRAMES,
        "delays": np.arange(1, DELAYS + 1),
        "levels": np.arange(DELAYS) // 8,
        "pairs": FRAMES - np.arange(1, DELAYS + 1),
        "g2": random.uniform(1, 2, shape),
        "g2_err": random.uniform(0.01, 0.1, shape),
        "saxs": random.uniform(0.1, 1, len(qmap.static_q)),
        "sum_image": counts.sum(axis=0),
        "frame_index": np.delete(np.arange(FRAMES + 1), 5),
        "total": counts.sum(axis=(1, 2)),
        "result_sha256": "5e" * 32,
        "fit": {"gamma": random.uniform(0, 1, len(qmap.q)), "diffusion": 0.25, "reasons": ("", "no decay")},
    }
    return XpcsRecord(**{**values, **changes})


def segments(of=3):
    """What a record with time segments has more."""
    random = np.random.default_rng(9)
    parts = random.dirichlet(np.ones(of))[:, np.newaxis] * record().saxs
    g2 = random.uniform(1, 2, (of, DELAYS, BINS))
    return {"g2_segments": g2, "g2_segment_first": np.arange(of) * 16, "saxs_segments": parts}


def elsewhere(**changes):
    """The provenance with other facts."""
    return dataclasses.replace(PROVENANCE, **changes)
