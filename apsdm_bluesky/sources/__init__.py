"""Where frames come from: one protocol, and PVAccess behind it."""

from ._ntndarray import decode_ntndarray
from ._protocol import FrameSink, FrameSource
from ._pva import PvaSource

__all__ = ["FrameSink", "FrameSource", "PvaSource", "decode_ntndarray"]
