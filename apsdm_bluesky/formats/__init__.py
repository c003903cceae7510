"""Files in and out."""

from ._zarr_frames import ZarrFrameWriter, chunk_frames

__all__ = ["ZarrFrameWriter", "chunk_frames"]
