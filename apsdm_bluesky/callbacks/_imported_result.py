"""The analysis run of a result that another program computed."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from apsdm_bluesky.formats import XpcsArrays

from ._analysis_documents import REPEATED, UNITS, mask_data
from ._analysis_run import AnalysisRun, Emit


def emit_imported_result(
    result: XpcsArrays,
    raw_start: Mapping[str, Any],
    *,
    emit: Emit,
    detector: str,
    producer: str,
    file: Path,
    sha256: str,
    metadata: Mapping[str, Any] = {},
) -> str:
    """Emit the documents of an analysis run, with the keys that ours have; returns its uid.

    Parameters
    ----------
    raw_start
        Of the raw run that it is a result of.
    producer
        Name and version of the program.
    file, sha256
        Where the result was read.
    metadata
        More for the start document.
    """
    start = {
        **{key: raw_start[key] for key in REPEATED if key in raw_start},
        "raw_uid": raw_start["uid"],
        "purpose": "xpcs",
        "detector": detector,
        "producer": producer,
        "file": str(file),
        "file_sha256": sha256,
        "software": {"apsdm-bluesky": version("apsdm-bluesky")},
        "configuration": result.configuration,
        **metadata,
    }
    run = AnalysisRun(emit, start)
    run.event("qmap", mask_data(result.qmap, np.zeros(result.qmap.shape, bool)), UNITS)
    if result.bins is not None and result.c2 is not None:
        run.event("two_time", {"bins": result.bins, "q": result.qmap.q[result.bins - 1], "c2": result.c2})
    run.event("primary", _primary(result), UNITS)
    run.close("success", f"{len(result.frame_index)} frames reduced by {producer}")
    return run.uid


def _primary(result: XpcsArrays) -> dict[str, Any]:
    correlation = {"delays": result.delays, "g2": result.g2, "g2_err": result.g2_err}
    return {
        "frames": len(result.frame_index),
        "q": result.qmap.q,
        "q_unit": result.qmap.unit,
        **{key: value for key, value in correlation.items() if value is not None},
        "saxs": result.saxs,
        "static_q": result.qmap.static_q,
        "frame_index": result.frame_index,
        "intensity": result.intensity,
    }
