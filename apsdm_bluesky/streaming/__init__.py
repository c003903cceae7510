"""From a source's callback to consumers: ring, audit, lanes.

Threads and queues live here and nowhere else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._audit import FrameAudit
from ._info import AcquisitionInfo
from ._lane import Consumer, Lane
from ._memory import limit_arenas
from ._pool import BlockPool, Ring
from ._receiver import Receiver
from ._stream import FrameStream
from ._threads import Threads

if TYPE_CHECKING:
    from ._hpc_collector import Collector, last_id
    from ._hpc_group import ConsumerGroup, ConsumerSettings
    from ._hpc_series import GroupSeries
    from ._live_output import LiveOutput
    from ._live_server import LiveServer

__all__ = [
    "AcquisitionInfo",
    "BlockPool",
    "Collector",
    "Consumer",
    "ConsumerGroup",
    "ConsumerSettings",
    "FrameAudit",
    "FrameStream",
    "GroupSeries",
    "Lane",
    "LiveOutput",
    "LiveServer",
    "Receiver",
    "Ring",
    "Threads",
    "last_id",
    "limit_arenas",
]

# Loaded when first used: they load pvaccess, which reads its environment once, and `isolate_epics` sets it.
_LAZY = {
    "Collector": "_hpc_collector",
    "ConsumerGroup": "_hpc_group",
    "ConsumerSettings": "_hpc_group",
    "GroupSeries": "_hpc_series",
    "LiveOutput": "_live_output",
    "LiveServer": "_live_server",
    "last_id": "_hpc_collector",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
