"""ophyd devices that wrap detectors and PVA streams. A beamline adds its detectors here."""

from ._pva_stream import PvaStream

__all__ = ["PvaStream"]
