"""`python -m apsdm_bluesky.agent`: an agent for the process that starts it."""

import sys

from ._process import main

sys.exit(main())
