"""Files in and out."""

from ._boost_corr import write_for_boost_corr
from ._corrupt import write_corrupt
from ._event_store import EventStore
from ._events import check_storable, storable
from ._frames import read_frames
from ._hdf5_tree import check_hdf5, hdf5_names, hdf5_part
from ._mask import read_mask
from ._open import open_frames, open_replay
from ._poni import read_poni
from ._qmap import read_qmap
from ._qmap_writer import write_qmap
from ._raw_writer import Layout, RawWriter
from ._recording import RECORDING_SUFFIX, RecordedMessage, Recording
from ._recording_writer import RecordingWriter
from ._rigaku_frames import RigakuFrames, looks_like_rigaku
from ._series import ArraySeries, FrameSeries, frames_within
from ._tiff import read_tiff, tiff_image
from ._xpcs_file import write_xpcs, xpcs_bytes
from ._xpcs_reader import XpcsArrays, read_xpcs
from ._xpcs_record import Provenance, TwoTimeMaps, XpcsRecord
from ._xpcs_run import RawRun, provenance_of, run_record, series_record

__all__ = [
    "RECORDING_SUFFIX",
    "ArraySeries",
    "EventStore",
    "FrameSeries",
    "Layout",
    "Provenance",
    "RawRun",
    "RawWriter",
    "RecordedMessage",
    "Recording",
    "RecordingWriter",
    "RigakuFrames",
    "TwoTimeMaps",
    "XpcsArrays",
    "XpcsRecord",
    "check_hdf5",
    "check_storable",
    "frames_within",
    "hdf5_names",
    "hdf5_part",
    "looks_like_rigaku",
    "open_frames",
    "open_replay",
    "provenance_of",
    "read_frames",
    "read_mask",
    "read_poni",
    "read_qmap",
    "read_tiff",
    "read_xpcs",
    "run_record",
    "series_record",
    "storable",
    "tiff_image",
    "write_corrupt",
    "write_for_boost_corr",
    "write_qmap",
    "write_xpcs",
    "xpcs_bytes",
]
