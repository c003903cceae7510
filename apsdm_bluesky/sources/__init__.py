"""Where frames come from: one protocol, and PVAccess behind it."""

from ._ntndarray import decode_ntndarray
from ._protocol import FrameSink, FrameSource, Message
from ._pva import PvaSource

__all__ = ["FrameSink", "FrameSource", "Message", "PvaSource", "decode_ntndarray"]
