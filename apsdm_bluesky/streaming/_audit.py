"""The audit of an acquisition by message number: which update is which frame, and what is missing."""

from bisect import bisect_right

from apsdm_bluesky.model import AcquisitionLedger


class FrameAudit:
    """Counts the fate of every frame. Pure: numbers in, a verdict out.

    The expected messages carry the numbers ``base_id + 1, base_id + 2, ...``; a number that was seen before
    the acquisition started can therefore never be taken for a new one. Numbers are 32-bit signed integers
    that wrap round, as NTNDArray's uniqueId. All counts are of frames: a message of n frames counts n.

    Parameters
    ----------
    expected
        Frames asked for.
    base_id
        The source's message counter just before the acquisition.
    frames_per_message
        Frames in each message; the last one may bring fewer.
    """

    def __init__(self, *, expected: int, base_id: int, frames_per_message: int = 1) -> None:
        self._expected = expected
        self._base_id = base_id
        self._each = frames_per_message
        self._messages = -(-expected // frames_per_message)
        self._next_message = 0  # first message that is not settled yet
        self._next = 0  # first frame index that is not settled yet
        self.accepted = 0
        self._corrupt = self._duplicate = self._stale = self._out_of_order = 0
        self._first_id = self._last_id = 0
        self._gaps: list[tuple[int, int]] = []

    @property
    def settled(self) -> bool:
        """Whether the last expected message has come (earlier ones cannot come any more)."""
        return self._next_message >= self._messages

    def expects(self, unique_id: int) -> bool:
        """Whether a message of this number would be a new one."""
        return self._next_message <= self._place(unique_id) < self._messages

    def admit(self, unique_id: int, count: int = 1) -> tuple[int, int] | None:
        """Index of the first frame to be taken of a message of `count` frames, and how many of them.

        None for a duplicate or stale message. Frames beyond those asked for are stale.
        """
        message = self._message_of(unique_id, count)
        if message is None:
            return None
        taken = min(count, self._room(message))
        self._stale += count - taken
        self._settle(message, taken)
        self.accepted += taken
        self._first_id = self._first_id or unique_id
        self._last_id = unique_id
        return message * self._each, taken

    def corrupt(self, unique_id: int | None) -> None:
        """Count a message that could not be decoded. Without a number it belongs to no frame."""
        if unique_id is None:
            self._stale += self._each
            return
        message = self._message_of(unique_id, self._each)
        if message is not None:
            self._settle(message, self._room(message))
            self._corrupt += self._room(message)

    def end_at(self, unique_id: int) -> None:
        """Expect nothing beyond this message: the source was ended on purpose, and it was the last one sent.

        Its frames are known where it came; else it counts as full. A number before what has come changes
        nothing but that nothing more is expected.
        """
        messages = max(self._place(unique_id) + 1, self._next_message)
        if messages >= self._messages:
            return
        self._messages = messages
        self._expected = self._next if self.settled else messages * self._each

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
            out_of_order=self._out_of_order,
            base_id=self._base_id,
            first_id=self._first_id,
            last_id=self._last_id,
            gaps=tuple(gaps),
        )

    def _message_of(self, unique_id: int, count: int) -> int | None:
        """The place of a new expected message; else its frames are counted as duplicate or stale."""
        message = self._place(unique_id)
        if message < 0 or message >= self._messages:
            self._stale += count
        elif message >= self._next_message:
            return message
        elif self._in_gap(message * self._each):
            self._stale += count
            self._out_of_order += count
        else:
            self._duplicate += count
        return None

    def _place(self, unique_id: int) -> int:
        return (unique_id - self._base_id - 1 + 2**31) % 2**32 - 2**31

    def _room(self, message: int) -> int:
        """Frames expected of a message."""
        return min(self._each, self._expected - message * self._each)

    def _in_gap(self, index: int) -> bool:
        before = bisect_right(self._gaps, index, key=lambda gap: gap[0]) - 1
        return before >= 0 and index < sum(self._gaps[before])

    def _settle(self, message: int, count: int) -> None:
        first = message * self._each
        if first > self._next:
            self._gaps.append((self._next, first - self._next))
        self._next = first + count
        self._next_message = message + 1
