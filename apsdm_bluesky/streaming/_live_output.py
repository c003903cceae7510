"""Running results as PVA channels, for the displays that a beamline has.

Types: EPICS V4 Normative Types (NTScalar, NTScalarArray, NTTable, NTNDArray). An image is as areaDetector's
NDPluginPva publishes it.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pvaccess
from numpy.typing import NDArray

from apsdm_bluesky.errors import ServiceError
from apsdm_bluesky.reduction import MultiTauResult, RunningResult

from ._live_server import LiveServer

logger = logging.getLogger(__name__)


class LiveOutput:
    """The channels of one detector; they stay when a run ends, and the next one goes on with them.

    ========= ============= ==========================================================================
    name      type          holds
    ========= ============= ==========================================================================
    `g2`      NTTable       `delay` [frames], `g2_q1` ... of each dynamic bin, `g2_err_q1` ...
    `iq`      NTTable       `q`, `intensity` [counts / pixel / frame] of the static bins
    `q`       NTScalarArray q of the dynamic bins
    `sum`     NTNDArray     the sum image, int64, mono; `uniqueId` grows by one
    `frames`  NTScalar      frames reduced
    `missing` NTScalar      frames up to now that are not in the result
    ========= ============= ==========================================================================

    Parameters
    ----------
    prefix
        In front of each name.
    q_bins
        Dynamic bins that `g2` has columns for; those that a result has not are NaN.

    Raises
    ------
    ServiceError
        A channel cannot be served.
    """

    def __init__(self, server: LiveServer, prefix: str, *, q_bins: int) -> None:
        self._server = server
        self._prefix = prefix
        self._image_number = 0
        self._told = False
        self._updates: dict[str, pvaccess.PvObject] = {}
        for name in ("frames", "missing"):
            self._serve(name, _scalar)
        self._serve("q", _scalar_array)
        self._serve("iq", lambda: _table(("q", "intensity")))
        self._serve("sum", _image)
        bins = range(1, q_bins + 1)
        self._g2_columns = ("delay", *(f"g2_q{i}" for i in bins), *(f"g2_err_q{i}" for i in bins))
        self._serve("g2", lambda: _table(self._g2_columns))

    def publish(self, result: RunningResult, *, missing: int) -> None:
        """Post a result. Displays must never harm a reduction: a failure is logged, once."""
        try:
            self._publish(result, missing)
        except Exception as error:  # noqa: BLE001 - whatever a server fails with
            if not self._told:
                reason = str(error).partition("\n")[0]  # pvaccess adds a stack trace
                logger.warning("%s: live output fails: %s", self._prefix, reason)
            self._told = True

    def _publish(self, result: RunningResult, missing: int) -> None:
        multitau, saxs = result.multitau, result.saxs
        self._post_g2(multitau)
        self._post("q", {"value": multitau.q})
        self._post("iq", {"value": {"q": saxs.static_q, "intensity": saxs.intensity}})
        self._post_image(saxs.sum_image)
        self._post("missing", {"value": missing})
        self._post("frames", {"value": multitau.frames})  # last: who waits for it finds the rest

    def _post_g2(self, multitau: MultiTauResult) -> None:
        columns = {name: np.full(len(multitau.delays), np.nan) for name in self._g2_columns}
        columns["delay"] = multitau.delays.astype(np.float64)
        bins = multitau.g2.shape[1]
        if f"g2_q{bins}" not in columns:
            room = len(self._g2_columns) // 2
            raise ServiceError(f"g2 has {bins} bins, its channel {room}; start a new session")
        for i, (g2, g2_err) in enumerate(zip(multitau.g2.T, multitau.g2_err.T, strict=True), 1):
            columns[f"g2_q{i}"], columns[f"g2_err_q{i}"] = map(np.ascontiguousarray, (g2, g2_err))
        self._post("g2", {"value": columns})

    def _post_image(self, image: NDArray[np.int64]) -> None:
        ny, nx = image.shape
        self._image_number += 1
        self._post(
            "sum",
            {
                "uniqueId": self._image_number,
                "dimension": [pvaccess.PvDimension(n, 0, n, 1, False) for n in (nx, ny)],
                "value": {"longValue": image.ravel()},
                "compressedSize": image.nbytes,
                "uncompressedSize": image.nbytes,
                "dataTimeStamp": _now(),
            },
        )

    def _post(self, name: str, fields: Mapping[str, Any]) -> None:
        update = self._updates[name]
        for key, value in {**fields, "timeStamp": _now()}.items():
            update[key] = value
        self._server.post(self._prefix + name, update)

    def _serve(self, name: str, build: Callable[[], pvaccess.PvObject]) -> None:
        # Two objects: the one that is served must not be the one that is posted.
        self._server.serve(self._prefix + name, build())
        self._updates[name] = build()


def _now() -> dict[str, int]:
    seconds, fraction = divmod(time.time(), 1.0)
    return {"secondsPastEpoch": int(seconds), "nanoseconds": int(fraction * 1e9), "userTag": 0}


def _structure(value: Any) -> dict[str, Any]:
    return {
        "value": value,
        "alarm": {"severity": pvaccess.INT, "status": pvaccess.INT, "message": pvaccess.STRING},
        "timeStamp": {
            "secondsPastEpoch": pvaccess.LONG,
            "nanoseconds": pvaccess.INT,
            "userTag": pvaccess.INT,
        },
    }


def _scalar() -> pvaccess.PvObject:
    return pvaccess.PvObject(_structure(pvaccess.LONG), {"value": 0}, "epics:nt/NTScalar:1.0")


def _scalar_array() -> pvaccess.PvObject:
    return pvaccess.PvObject(_structure([pvaccess.DOUBLE]), {"value": []}, "epics:nt/NTScalarArray:1.0")


def _table(columns: Sequence[str]) -> pvaccess.PvObject:
    value = {column: [pvaccess.DOUBLE] for column in columns}
    structure = {"labels": [pvaccess.STRING], "descriptor": pvaccess.STRING, **_structure(value)}
    return pvaccess.PvObject(structure, {"labels": list(columns)}, "epics:nt/NTTable:1.0")


def _image() -> pvaccess.PvObject:
    image = pvaccess.NtNdArray()
    image["codec"] = pvaccess.PvCodec("", pvaccess.PvInt(int(pvaccess.LONG)))
    image["attribute"] = [pvaccess.NtAttribute("ColorMode", pvaccess.PvInt(0))]
    return image
