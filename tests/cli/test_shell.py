"""`apsdm shell`, typed into."""

import os
import pty
import re
import subprocess

from apsdm_bluesky.experiments import CurrentExperiment, NewExperiment, open_experiments
from tests.commands import apsdm, command

TYPED = """
print("devices:", list(devices), sim_det.name)
uid, = RE(xpcs_series(sim_det, 50))
print("delivered:", session.wait_delivered(60))
print("in the catalogue:", catalog["raw"][uid].metadata["stop"]["reason"])
sim_det.stage()
sim_det.kickoff()
sim_det.unstage()
1 / 0
exit
"""


def test_a_run_at_the_prompt(beamline):
    done = apsdm("shell", "--config", beamline.config_file, input=TYPED)
    for words in (
        "devices: ['sim_det'] sim_det",
        "delivered: True",
        "in the catalogue: 50 of 50 frames",
        "ZeroDivisionError",  # a person's own errors keep their traceback
    ):
        assert words in done.stdout, done.stdout + done.stderr
    assert done.stderr.startswith("AcquisitionError: sim_det: ")  # faults are told in one line
    assert done.stderr.count("\n") == 1


def test_the_prompt_names_the_experiment(beamline):
    """On a terminal of its own, as a person sees it."""
    store = open_experiments(beamline.config)
    store.create(NewExperiment(name="prompted"), actor="me")
    store.close()
    master, slave = pty.openpty()
    words = command("shell", "--config", beamline.config_file, "--experiment", "prompted")
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200", "LINES": "50"}
    with subprocess.Popen(
        words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment
    ) as process:
        os.close(slave)
        try:
            seen = _until(master, "[prompted] In [1]:")
            assert 'session.experiment  prompted; session.use_experiment("name") changes it' in seen
            os.write(master, b"session.use_experiment(None)\r")
            assert not _until(master, "In [2]:").partition("In [2]:")[0].endswith("[prompted] ")
            os.write(master, b"exit\r")
            _rest(master)
            assert process.wait(60) == 0
        finally:
            process.kill()
    os.close(master)
    assert CurrentExperiment(beamline.config.folders.experiments).get() is None


def _until(master, words):
    """What the terminal shows, without its colours, up to these words. It answers where the cursor is."""
    seen = ""
    while words not in seen:
        new = os.read(master, 4096).decode("utf-8", "replace")
        if "\x1b[6n" in new:
            os.write(master, b"\x1b[1;1R")
        seen = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen + new)
    return seen


def _rest(master):
    """Read what comes, until the other side has closed."""
    try:
        while os.read(master, 4096):
            pass
    except OSError:  # as Linux tells it
        return
