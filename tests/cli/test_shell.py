"""`apsdm shell`, typed into."""

from tests.commands import apsdm

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
