"""The whole chain, as a person runs it: detector process, PVA, session, Tiled server, agent."""

import hashlib
import json
import os
import subprocess
import sys

import httpx
import numpy as np
import pytest

from apsdm_bluesky.config import SimulationConfig
from apsdm_bluesky.sim import SpeckleSample

from .conftest import apsdm


def test_every_frame_is_accounted_for(demo):
    frames = demo["frames"]
    assert frames["expected"] == frames["received"] == frames["reduced"] == frames["stored"] == 2000
    assert frames["dropped"] == frames["missing"] == frames["corrupt"] == frames["duplicate"] == 0


def test_every_rate_is_the_true_one(demo):
    fit = {key: np.array(values) for key, values in demo["fit"].items()}
    assert len(fit["gamma"]) == 8
    assert np.all(np.abs(fit["gamma"] - fit["gamma_true"]) < 4 * fit["gamma_err"])
    assert np.all(np.abs(fit["gamma"] / fit["gamma_true"] - 1) < 0.1)
    np.testing.assert_allclose(fit["gamma_true"], 8e-6 * np.array(demo["g2"]["q"]) ** 2)


def test_the_json_has_one_list_a_bin(demo):
    g2 = demo["g2"]
    assert len(g2["values"]) == len(g2["errors"]) == len(g2["q"])
    assert all(len(row) == len(g2["delays"]) for row in [*g2["values"], *g2["errors"]])


def test_the_archive_holds_the_verified_bundle(demo, beamline):
    assert demo["archive"]["state"] == "VERIFIED"
    (bundle,) = [p for p in (beamline.home / "tape").rglob("*.tar") if demo["raw_uid"] in p.name]
    assert hashlib.sha256(bundle.read_bytes()).hexdigest() == demo["archive"]["sha256"]


def test_a_simulated_globus_is_a_destination(tmp_path):
    done = apsdm("demo", "--frames", 64, "--globus-sim", "--json", home=tmp_path)
    report = json.loads(done.stdout)
    assert report["archive"]["state"] == "VERIFIED"
    (bundle,) = (tmp_path / "globus-sim").rglob(f"{report['raw_uid']}.tar")
    assert hashlib.sha256(bundle.read_bytes()).hexdigest() == report["archive"]["sha256"]


@pytest.fixture(scope="session")
def sent(demo):
    """The frames that the detector sent, made again."""
    simulation = SimulationConfig(seed=4)
    frames = np.empty((2000, *simulation.shape), np.uint16)
    SpeckleSample(simulation).series(1).fill(frames)
    return frames


def test_frames_read_back_through_tiled(demo, beamline, sent):
    image = beamline.client["raw"][demo["raw_uid"]]["primary"]["sim_det_image"]
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image[:], sent)


DATABROKER = """
import sys, numpy
from databroker import catalog
from databroker.client import BlueskyRun
run = catalog["here"][sys.argv[1]]
assert isinstance(run, BlueskyRun), type(run)
numpy.save(sys.argv[2], run["primary"]["sim_det_image"][100:120])
"""


def test_frames_read_back_through_databroker(demo, beamline, sent, tmp_path):
    (tmp_path / "profiles.yml").write_text(f"here:\n  uri: {beamline.uri}/api/v1/metadata/raw\n")
    env = {**os.environ, "TILED_PROFILES": str(tmp_path), "TILED_API_KEY": beamline.key}
    command = [sys.executable, "-c", DATABROKER, demo["raw_uid"], tmp_path / "frames.npy"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "frames.npy"), sent[100:120])


def test_frames_read_back_over_plain_http(demo, beamline, sent):
    url = f"{beamline.uri}/api/v1/array/full/raw/{demo['raw_uid']}/primary/sim_det_image"
    headers = {"Authorization": f"Apikey {beamline.key}", "Accept": "application/octet-stream"}
    answer = httpx.get(url, params={"slice": "::100"}, headers=headers, timeout=60)
    assert answer.status_code == 200
    frames = np.frombuffer(answer.content, np.uint16).reshape(-1, 256, 256)
    np.testing.assert_array_equal(frames, sent[::100])
    assert httpx.get(url, timeout=60).status_code == 401


def test_raw_and_result_are_linked_and_documents_come_back(demo, beamline):
    raw = beamline.client["raw"][demo["raw_uid"]]
    result = beamline.client["processed"][demo["processed_uid"]]
    assert result.metadata["start"]["raw_uid"] == demo["raw_uid"]
    names = [name for name, _ in raw.documents()]
    assert names[0] == "start"
    assert names[-1] == "stop"
    assert names.count("event") == 1
    assert raw.metadata["stop"]["reason"] == "2000 of 2000 frames"
    np.testing.assert_array_equal(result["primary"]["g2"].read()[0].T, np.array(demo["g2"]["values"]))


def test_a_person_sees_a_table(beamline):
    done = apsdm("demo", "--frames", 64, home=beamline.home, env={"COLUMNS": "120"})
    for words in ("64 received", "64 reduced", "VERIFIED", "Decay rates", "true", "/api/v1/metadata/raw/"):
        assert words in done.stdout
    assert beamline.key not in done.stdout + done.stderr
    assert done.stderr == ""


def test_status_tells_what_is_archived(demo, beamline):
    status = json.loads(apsdm("agent", "--status", "--json", home=beamline.home).stdout)
    assert "pid" in status["running"]
    assert status["counts"]["VERIFIED"] >= 1
    assert demo["raw_uid"] not in [bundle["uid"] for bundle in status["bundles"]], "all is done for it"
