"""A session that test_session.py kills in mid-run: it prints the run's uid when frames come."""

import sys
from pathlib import Path

from apsdm_bluesky import open_session
from apsdm_bluesky.plans import xpcs_series


def main(config):
    with open_session(Path(config)) as session:
        uids = []
        session.RE.subscribe(lambda _, doc: uids.append(doc["uid"]), "start")
        session.RE.subscribe(lambda *_: print(uids[0], flush=True), "stream_datum")
        session.RE(xpcs_series(session.devices["sim_det"], 100_000, acquire_period=0.005))


if __name__ == "__main__":
    main(sys.argv[1])
