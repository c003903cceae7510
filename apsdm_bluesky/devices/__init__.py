"""ophyd devices that wrap detectors and PVA streams. A beamline adds its detectors here."""

from ._channel_access import quiet_channel_access
from ._pva_stream import PvaStream
from ._storage import RawStorage

__all__ = ["PvaStream", "RawStorage", "quiet_channel_access"]
