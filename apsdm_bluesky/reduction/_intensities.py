"""All that is an intensity, from one pass over the frames."""

from collections.abc import Mapping

from apsdm_bluesky.model import Batch

from ._columns import columns_of
from ._frame_pass import FramePass
from ._qmap import QMap
from ._rois import Roi, RoiRecord, RoiStatsResult, regions_of
from ._saxs import SaxsRecord, SaxsResult
from ._stats import FrameRecord, FrameStatsResult
from ._workers import OneThread, Workers


class Intensities:
    """`Saxs`, `FrameStats` and `RoiStats` from one pass: each batch is checked and read once.

    Dense frames and packed events give the same, bit for bit, whatever the split into batches and the number
    of workers. Dense frames are best pushed as they are; if events of them are at hand (`sparsify`, for the
    correlation), push those.

    Parameters
    ----------
    qmap
        The bins; pixels that its mask calls bad count in the sum image only.
    rois
        Regions by name, as of `RoiStats`; counted over the mask's good pixels.
    workers
        Run the loops, default `OneThread`.

    Raises
    ------
    ReductionError
        A region that is refused (see `RoiStats`), or more than 65,535 pieces of static bins and regions.
    """

    def __init__(
        self, qmap: QMap, *, rois: Mapping[str, Roi] | None = None, workers: Workers | None = None
    ) -> None:
        regions = regions_of(qmap.shape, rois or {})
        columns = columns_of(qmap, list(regions.values()))
        self._pass = FramePass(columns, workers or OneThread())
        self._saxs = SaxsRecord(qmap, columns)
        self._stats = FrameRecord(qmap, columns)
        self._rois = RoiRecord(regions, columns, qmap.mask) if regions else None

    def push(self, batch: Batch) -> None:
        """Add the batch's frames. An empty batch changes nothing.

        Frames may change their dtype from batch to batch: counts are summed as integers.

        Raises
        ------
        ReductionError
            Frames of another shape than the q-map, no integers (floats, NaN or not), a negative count at a
            good pixel, a word that names a pixel outside the image, indices that do not increase, or a sum
            that could leave int64. Nothing was added then.
        """
        sums = self._pass.sums(batch)
        if sums is None:
            return
        self._saxs.add(sums)
        self._stats.add(sums)
        if self._rois is not None:
            self._rois.add(sums)

    @property
    def saxs(self) -> SaxsResult:
        """The averages so far."""
        return self._saxs.result(self._pass.sum_image(), self._pass.frames)

    @property
    def stats(self) -> FrameStatsResult:
        """The intensities against time so far."""
        return self._stats.result()

    @property
    def rois(self) -> RoiStatsResult | None:
        """The regions' counts so far; None without regions."""
        return None if self._rois is None else self._rois.result()
