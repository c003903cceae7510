"""A display: ``python -m tests.streaming.live_client PREFIX FRAMES FILE`` with plain pvaccess and p4p.

It connects, says so, and waits for a result of so many frames; what it read then stands in FILE (npz).
"""

import sys
import threading

import numpy as np
import pvaccess
from p4p.client.thread import Context

NAMES = ("g2", "iq", "q", "sum", "missing", "frames")
TIMEOUT = 60


def main(prefix, frames, file):
    came, numbers, kept = threading.Event(), [], []
    pvaccess_channels = {name: pvaccess.Channel(prefix + name) for name in NAMES}
    for channel in pvaccess_channels.values():
        channel.get("field()")

    def take(update):
        numbers.append(update["value"])
        if numbers[-1] == frames:
            came.set()

    kept.append(take)  # pvapy lets go of its references without the interpreter's lock
    pvaccess_channels["frames"].monitor(take, "field()")
    print("ready", flush=True)
    if not came.wait(TIMEOUT):
        sys.exit(f"no result of {frames} frames, but of {numbers}")
    pvaccess_channels["frames"].stopMonitor()
    values = {name: channel.get("field()") for name, channel in pvaccess_channels.items()}
    found = {
        **{f"g2.{column}": array for column, array in values["g2"]["value"].items()},
        **{f"iq.{column}": array for column, array in values["iq"]["value"].items()},
        "g2.labels": values["g2"]["labels"],
        "q": values["q"]["value"],
        "sum": values["sum"]["value"][0]["longValue"],
        "sum.size": [dimension["size"] for dimension in values["sum"]["dimension"]],
        "sum.uniqueId": values["sum"]["uniqueId"],
        "missing": values["missing"]["value"],
        "frames": numbers,
    }
    with Context("pva") as context:  # unwraps what follows the normative types
        found["p4p.sum"] = context.get(prefix + "sum", timeout=TIMEOUT)
        found["p4p.g2_q1"] = context.get(prefix + "g2", timeout=TIMEOUT).value.g2_q1
        found["p4p.frames"] = int(context.get(prefix + "frames", timeout=TIMEOUT))
        found["p4p.q"] = context.get(prefix + "q", timeout=TIMEOUT)
    np.savez(file, **found)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
