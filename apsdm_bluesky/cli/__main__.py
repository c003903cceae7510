"""`python -m apsdm_bluesky.cli` is `apsdm`."""

from . import main

main()
