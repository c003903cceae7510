"""A display: ``python -m tests.streaming.live_client PREFIX FRAMES FILE`` with plain pvaccess and p4p.

It connects, says so, and waits for a result of so many frames; what it read then stands in FILE (npz).
"""

import subprocess
import sys
import threading
from contextlib import contextmanager

import numpy as np

NAMES = ("g2", "iq", "q", "sum", "missing", "frames")
TIMEOUT = 60


@contextmanager
def display(prefix, frames, file):
    """A client that is connected; at the end, what it read."""
    command = [sys.executable, "-m", "tests.streaming.live_client", prefix, str(frames), str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield
            assert process.wait(90) == 0
        finally:
            process.kill()


def assert_shows(file, result, columns=None):
    """A display has read `result`, with g2 in so many columns (default: as many as it has bins)."""
    with np.load(file) as found:
        multitau, saxs = result.multitau, result.saxs
        nq = multitau.g2.shape[1]
        bins = range(1, (columns or nq) + 1)
        names = ["delay", *(f"g2_q{i}" for i in bins), *(f"g2_err_q{i}" for i in bins)]
        assert found["g2.labels"].tolist() == names
        for i in bins[nq:]:
            assert np.isnan(found[f"g2.g2_q{i}"]).all()
        np.testing.assert_array_equal(found["g2.delay"], multitau.delays)
        for i in range(nq):
            np.testing.assert_array_equal(found[f"g2.g2_q{i + 1}"], multitau.g2[:, i])
            np.testing.assert_array_equal(found[f"g2.g2_err_q{i + 1}"], multitau.g2_err[:, i])
        np.testing.assert_array_equal(found["iq.q"], saxs.static_q)
        np.testing.assert_array_equal(found["iq.intensity"], saxs.intensity)
        np.testing.assert_array_equal(found["q"], multitau.q)
        ny, nx = saxs.sum_image.shape
        assert found["sum.size"].tolist() == [nx, ny]
        np.testing.assert_array_equal(found["sum"].reshape(ny, nx), saxs.sum_image)
        np.testing.assert_array_equal(found["p4p.sum"], saxs.sum_image)
        np.testing.assert_array_equal(found["p4p.g2_q1"], multitau.g2[:, 0])
        np.testing.assert_array_equal(found["p4p.q"], multitau.q)
        assert found["p4p.frames"] == found["frames"][-1] == multitau.frames
        return {name: found[name].tolist() for name in ("missing", "frames", "sum.uniqueId")}


def main(prefix, frames, file):
    import pvaccess  # not with the tests that start this: EPICS reads its environment when it is loaded
    from p4p.client.thread import Context

    came, numbers, kept = threading.Event(), [], []
    pvaccess_channels = {name: pvaccess.Channel(prefix + name) for name in NAMES}
    for channel in pvaccess_channels.values():
        channel.setTimeout(TIMEOUT)
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
