"""A consumer as a child process: pvapy's own command, which ends with the process that started it.

``python -m apsdm_bluesky.streaming._hpc_main`` takes the arguments of ``pvapy-hpc-consumer`` and ends when
standard input closes.
"""

import os
import threading

from pvapy.cli.hpcConsumer import main


def _end_at_eof() -> None:
    while os.read(0, 4096):
        pass
    # At once, since an exit with an active monitor aborts. Whatever the collector confirmed is safe there.
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_at_eof, name="stdin", daemon=True).start()
    main()
