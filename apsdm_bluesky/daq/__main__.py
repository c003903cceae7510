"""`python -m apsdm_bluesky.daq`: the process that copies, for the agent that starts it."""

import sys

from ._porter import main

sys.exit(main())
