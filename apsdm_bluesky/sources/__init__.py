"""Where frames come from: one protocol, and PVAccess or a file behind it."""

from ._credit import CreditGate
from ._ntndarray import UNREADABLE, decode_ntndarray
from ._protocol import FrameSink, FrameSource, Message
from ._pva import PvaSource
from ._recorder import Recorder, structure_of
from ._replay import ReplaySource
from ._serving import pva_server

__all__ = [
    "UNREADABLE",
    "CreditGate",
    "FrameSink",
    "FrameSource",
    "Message",
    "PvaSource",
    "Recorder",
    "ReplaySource",
    "decode_ntndarray",
    "pva_server",
    "structure_of",
]
