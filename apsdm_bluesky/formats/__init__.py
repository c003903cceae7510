"""Files in and out."""

from ._corrupt import write_corrupt
from ._frames import read_frames
from ._qmap import read_qmap
from ._zarr_frames import ZarrFrameWriter, chunk_frames

__all__ = ["ZarrFrameWriter", "chunk_frames", "read_frames", "read_qmap", "write_corrupt"]
