"""A simulated run's result as a file, exported by the server and opened by pyXpcsViewer."""

import httpx
import numpy as np
import pytest
from pyxpcsviewer import XpcsFile


@pytest.fixture(scope="module")
def file(demo, beamline, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "demo_results.hdf"
    answer = httpx.get(
        f"{beamline.uri}/api/v1/container/full/processed/{demo['processed_uid']}",
        params={"format": "xpcs"},
        headers={"Authorization": f"Apikey {beamline.key}"},
        timeout=60,
    )
    assert answer.status_code == httpx.codes.OK, answer.text
    path.write_bytes(answer.content)
    return path


def test_pyxpcsviewer_shows_what_the_catalogue_holds(file, demo, beamline):
    seen = XpcsFile(str(file))
    result = beamline.client["processed"][demo["processed_uid"]]
    primary, qmap = result["primary"], result["qmap"]
    np.testing.assert_array_equal(seen.g2, primary["g2"].read()[0])
    error = primary["g2_err"].read()[0]
    shown = error > 1e-6  # the viewer puts others in the place of smaller ones
    np.testing.assert_array_equal(seen.g2_err[shown], error[shown])
    assert shown.mean() > 0.9
    np.testing.assert_array_equal(seen.saxs_1d["Iq"][0], primary["saxs"].read()[0])
    np.testing.assert_array_equal(seen.Int_t[1], primary["total"].read()[0])
    np.testing.assert_array_equal(seen.dqmap, qmap["dynamic_map"].read()[0])
    period = result.metadata["start"]["frame_period_s"]
    np.testing.assert_allclose(seen.t_el, primary["delays"].read()[0] * period)
    image = primary["sum_image"].read()[0] / seen.Int_t.shape[1]
    np.testing.assert_allclose(seen.saxs_2d, image, rtol=1e-6)


def test_it_says_when_and_how_long_the_raw_run_was(file, demo, beamline):
    start = beamline.client["raw"][demo["raw_uid"]].metadata["start"]
    seen = XpcsFile(str(file))
    assert np.datetime64(seen.start_time[:26]).astype(float) / 1e6 == pytest.approx(start["time"], abs=1e-5)
    assert 0 < seen.t1 <= seen.t0
    metadata = seen.get_hdf_info()["/entry/instrument"]["bluesky"]["metadata"]
    assert (metadata["raw_uid"], metadata["result_uid"]) == (demo["raw_uid"], demo["processed_uid"])
