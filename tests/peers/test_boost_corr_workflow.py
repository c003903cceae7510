"""The shipped workflow `boost-corr` with the real program: frames that it reads, a result that we read."""

import numpy as np
import pytest

from benchmarks._boost_corr import PEER
from tests.shipped import g2_of, perform

pytestmark = pytest.mark.timeout(1800)  # the first run installs boost-corr


@pytest.fixture(scope="module")
def executable():
    problem = PEER.install()
    if problem:
        pytest.fail(problem)
    return PEER.python.with_name("boost_corr")


@pytest.mark.parametrize("kind", ["Multitau", "Both"])
def test_its_result_stands_beside_ours(kind, executable, shipped_run, job_store, tiled_server):
    uid, analysis = shipped_run
    asked = {"uid": uid, "executable": str(executable), "type": kind}
    job = perform(job_store, {"boost-corr": asked})["boost-corr"]
    with tiled_server.client() as client:
        result = client["processed"][job.variables["result_uid"]]
        theirs, ours = g2_of(result), g2_of(client["processed"][analysis.uid])
        maps = result["two_time"]["c2"].read()[0] if kind == "Both" else None
    assert result.metadata["start"]["producer"] == f"boost_corr {PEER.version}"
    np.testing.assert_allclose(theirs["q"], ours["q"])
    np.testing.assert_array_equal(theirs["delays"], ours["delays"])
    # The command has no option for more than bfloat16, and dark pixels count as g2 = 0 in its errors.
    np.testing.assert_allclose(theirs["g2"], ours["g2"], rtol=5e-3)
    if maps is not None:
        np.testing.assert_array_equal(maps, maps.swapaxes(1, 2))
        assert maps.shape[1:] == (analysis.result.multitau.frames,) * 2
