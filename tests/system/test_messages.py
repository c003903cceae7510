"""The same frames, one a message or many, as images or as events: the same result, bit for bit."""

import socket

import pytest

from apsdm_bluesky import open_session
from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.plans import xpcs_series

FRAMES = 230


@pytest.fixture(scope="module", autouse=True)
def impatient():
    """Closing a session without a server does not wait for one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("apsdm_bluesky.session._DELIVERY_TIMEOUT_S", 0.0)
        yield


@pytest.fixture(scope="module")
def nobody():
    """A port where no server answers: documents stay in the spool."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def measured(home, port, detector):
    config = BeamlineConfig(
        home=home,
        server={"port": port},
        simulation={"shape": (64, 64), "beam_stop_radius": 2, "mean_counts": 0.2},
        detectors={"det": {"prefix": "ways:", "ring_mb": 8, **detector}},
        reduction={"on_overflow": "spill"},
    )
    documents = []
    with open_session(config) as session:
        session.RE.subscribe(lambda name, doc: documents.append((name, doc)))
        session.RE(xpcs_series(session.devices["det"], FRAMES, acquire_period=0.001))
        analysis = session.reducers["det"].last
        assert analysis.ended.wait(60)
        assert session.devices["det"].cam.array_counter.get() == -(
            -FRAMES // detector.get("frames_per_message", 1)
        )
    assert documents[-1][1]["reason"] == f"{FRAMES} of {FRAMES} frames"
    assert (analysis.fate.done, analysis.fate.dropped, analysis.fate.reason) == (FRAMES, 0, "")
    return analysis.result.sha256


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory, nobody):
    return measured(tmp_path_factory.mktemp("home"), nobody, {})


@pytest.mark.parametrize("way", [{"layout": "images"}, {"layout": "events", "credit": 3}], ids=str)
def test_what_a_message_holds_changes_no_result(tmp_path, nobody, one_by_one, way):
    assert measured(tmp_path, nobody, {**way, "frames_per_message": 50}) == one_by_one
