"""From a source's callback to consumers: ring, audit, lanes.

Threads and queues live here and nowhere else.
"""

from ._audit import FrameAudit
from ._info import AcquisitionInfo
from ._lane import Consumer, Lane
from ._pool import BlockPool
from ._receiver import Receiver
from ._stream import FrameStream

__all__ = [
    "AcquisitionInfo",
    "BlockPool",
    "Consumer",
    "FrameAudit",
    "FrameStream",
    "Lane",
    "Receiver",
]
