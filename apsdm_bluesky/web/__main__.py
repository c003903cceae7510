"""The server with its pages as a child process, see `tiled_config.serve_as_child`."""

import sys

from apsdm_bluesky.tiled_config import serve_as_child

from . import mount

if __name__ == "__main__":
    sys.exit(serve_as_child(mount))
