"""Memory that was freed goes back to the system."""

import ctypes
import sys


def give_back_memory() -> None:
    """Have the C library return what has been freed.

    glibc keeps freed blocks in an arena for each thread that allocated. Compressors and reductions run in
    many threads, run after run: a session grew by 27 MB a run of 2,000 frames, with nothing in use. Elsewhere
    nothing is done.
    """
    if sys.platform == "linux" and hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)


_LIBC = ctypes.CDLL(None)
