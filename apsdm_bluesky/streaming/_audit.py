"""The audit of an acquisition by frame number: which update is which frame, and what is missing."""

from apsdm_bluesky.model import AcquisitionLedger


class FrameAudit:
    """Counts the fate of every frame. Pure: numbers in, a verdict out.

    The expected frames carry the numbers ``base_id + 1 ... base_id + expected``; a number that was seen
    before the acquisition started can therefore never be taken for a new frame.

    Parameters
    ----------
    expected
        Frames asked for.
    base_id
        The source's frame counter just before the acquisition.
    """

    def __init__(self, *, expected: int, base_id: int) -> None:
        self._expected = expected
        self._base_id = base_id
        self._next = 0  # first index that is not settled yet
        self.accepted = 0
        self._corrupt = self._duplicate = self._stale = 0
        self._first_id = self._last_id = 0
        self._gaps: list[tuple[int, int]] = []

    @property
    def settled(self) -> bool:
        """Whether the last expected frame has come (earlier ones cannot come any more)."""
        return self._next >= self._expected

    @property
    def last_id(self) -> int:
        """Number of the last frame that was accepted or corrupt, `base_id` before any."""
        return self._base_id + self._next

    def admit(self, unique_id: int) -> int | None:
        """The zero-based index of a frame to be taken, or None for a duplicate or stale update."""
        index = self._index_of(unique_id)
        if index is None:
            return None
        self._settle(index)
        self.accepted += 1
        self._first_id = self._first_id or unique_id
        self._last_id = unique_id
        return index

    def corrupt(self, unique_id: int | None) -> None:
        """Count an update that could not be decoded. Without a number it belongs to no frame."""
        if unique_id is None:
            self._stale += 1
            return
        index = self._index_of(unique_id)
        if index is not None:
            self._settle(index)
            self._corrupt += 1

    def ledger(self) -> AcquisitionLedger:
        """The account if nothing came any more: what is not settled is missing."""
        gaps = list(self._gaps)
        if self._next < self._expected:
            gaps.append((self._next, self._expected - self._next))
        return AcquisitionLedger(
            expected=self._expected,
            accepted=self.accepted,
            corrupt=self._corrupt,
            missing=sum(length for _, length in gaps),
            updates=self.accepted + self._corrupt + self._duplicate + self._stale,
            duplicate=self._duplicate,
            stale=self._stale,
            base_id=self._base_id,
            first_id=self._first_id,
            last_id=self._last_id,
            gaps=tuple(gaps),
        )

    def _index_of(self, unique_id: int) -> int | None:
        """The index of a new expected frame; else the update is counted as duplicate or stale."""
        index = unique_id - self._base_id - 1
        if index < 0 or index >= self._expected or self._in_gap(index):
            self._stale += 1
            return None
        if index < self._next:
            self._duplicate += 1
            return None
        return index

    def _in_gap(self, index: int) -> bool:
        return any(first <= index < first + length for first, length in self._gaps)

    def _settle(self, index: int) -> None:
        if index > self._next:
            self._gaps.append((self._next, index - self._next))
        self._next = index + 1
