"""An analysis run with everything that can be asked for, from frames in memory."""

import numpy as np

from apsdm_bluesky.callbacks import SeriesAnalysis
from apsdm_bluesky.config import ReductionConfig
from apsdm_bluesky.model import ConsumerLedger, FrameBatch
from apsdm_bluesky.reduction import Geometry, QMap
from apsdm_bluesky.streaming import AcquisitionInfo, FrameAudit

FRAMES = np.random.default_rng(1).poisson(1.0, (32, 16, 16)).astype(np.uint16)
CONFIG = ReductionConfig.model_validate(
    {
        "hot_pixel_frames": 0,
        "segment_frames": 16,
        "rois": {"middle": {"x": 4, "y": 4, "width": 8, "height": 8}},
        "two_time": {"bins": [1]},
    }
)
GEOMETRY = Geometry(center=(7.5, 7.5), distance_m=5, energy_kev=8, pixel_size_m=1e-3)


def whole_analysis():
    """The analysis and its documents, (name, document)."""
    qmap = QMap.partition((16, 16), GEOMETRY, dynamic_bins=2, static_per_dynamic=1, phi_bins=2)
    documents = []
    analysis = SeriesAnalysis(
        "det",
        {"uid": "raw-uid", "scan_id": 3},
        emit=lambda name, document: documents.append((name, document)),
        qmap_for=lambda _: qmap,
        config=CONFIG,
    )
    analysis.begin(AcquisitionInfo(expected=32, frame_shape=(16, 16), dtype="uint16", period_s=0.002))
    analysis.consume(FrameBatch(frames=FRAMES, indices=np.arange(32)))
    ledger = FrameAudit(expected=32, base_id=0, frames_per_message=1).ledger()
    analysis.end(ledger, ConsumerLedger(accepted=32, done=32, dropped=0))
    return analysis, documents
