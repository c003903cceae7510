"""The notebook, run as its reader does: all cells, in a kernel of its own, against a real server and run."""

import base64
import copy
import json

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from .pages import ROOT

NOTEBOOK = ROOT / "examples/look_at_runs.ipynb"
FIGURES = 5


def run_notebook(cwd, *, config_file, raw_uid=None, at_end=""):
    """The notebook with its outputs, and the error that ended it."""
    notebook = copy.deepcopy(nbformat.read(NOTEBOOK, as_version=4))
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    parameters.source = (
        f"from pathlib import Path\nconfig_file = Path({str(config_file)!r})\nraw_uid = {raw_uid!r}\n"
    )
    notebook.cells.append(nbformat.v4.new_code_cell(at_end))
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(cwd)}})
    try:
        client.execute()
    except CellExecutionError as error:
        return notebook, error
    return notebook, None


@pytest.fixture(scope="module")
def demo_yml(demo, tmp_path_factory):
    path = tmp_path_factory.mktemp("notebook") / "beamline.yml"
    path.write_text(f"home: {demo.server.config.home}\nserver: {{port: 0}}\n")
    return path


@pytest.fixture(scope="module")
def executed(demo, demo_yml):
    notebook, error = run_notebook(
        demo_yml.parent, config_file=demo_yml, raw_uid=demo.told["raw_uid"], at_end=DRAWN
    )
    assert error is None, error
    return notebook


def outputs(notebook, kind):
    return [
        output for cell in notebook.cells for output in cell.get("outputs", []) if output.output_type == kind
    ]


def printed(notebook):
    return "".join(output.text for output in outputs(notebook, "stream") if output.name == "stdout")


def test_the_repository_holds_no_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    assert max(len(cell.source.splitlines()) for cell in cells) < 45


def test_every_figure_is_drawn(executed):
    figures = [base64.b64decode(output.data["image/png"]) for output in outputs(executed, "display_data")]
    assert len(figures) == FIGURES
    for figure in figures:
        assert figure.startswith(b"\x89PNG")
        assert len(figure) > 5000  # an empty pair of axes has less


def test_nothing_is_complained_about(executed):
    complaints = [output.text for output in outputs(executed, "stream") if output.name == "stderr"]
    assert complaints == []


def test_the_run_and_its_result_are_listed_side_by_side(executed, demo):
    uid, result = demo.told["raw_uid"], demo.told["processed_uid"]
    (line,) = [line for line in printed(executed).splitlines() if f"  {uid[:8]}  " in line]
    assert "2000 of 2000 frames" in line
    listed = [each.strip() for each in line.partition("frames")[2].split(",")]  # newest first
    assert listed[-1] == result[:8]
    assert f"{listed[0]}-" in printed(executed)  # the newest is told in full


# What the notebook has drawn, taken from the axes at its end.
DRAWN = """
import json

def points(axis):
    \"\"\"Values of an axis' errorbar, and the lengths of its bars to either side.\"\"\"
    (bars,) = axis.containers
    line, _, (lines,) = bars.lines
    lengths = [(high[1] - low[1]) / 2 for low, high in lines.get_segments()]
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), np.asarray(lengths)

drawn = {"delays": (points(axes[0])[0] / period).tolist(), "g2": [], "errors": [], "rest": []}
for i, panel in enumerate(axes):
    _, rest, error = points(panel)
    drawn["g2"].append((rest + fitted(i, data["delays"], widths)).tolist())
    drawn["errors"].append(error.tolist())
    drawn["rest"].append(float(np.abs(rest).max()))
_, rates, errors = points(above)
drawn |= {"gamma": (rates * period).tolist(), "gamma_err": (errors * period).tolist(), "fates": fates}
drawn["counts"] = int(left.images[0].get_array().filled(0).sum())
drawn["left_out"] = int(right.images[1].get_array().count())
print("DRAWN", json.dumps(drawn))
"""


@pytest.fixture(scope="module")
def drawn(executed):
    (line,) = [line for line in printed(executed).splitlines() if line.startswith("DRAWN ")]
    return json.loads(line.removeprefix("DRAWN "))


def test_what_is_drawn_is_what_the_catalogue_holds(drawn, demo):
    told = demo.told
    np.testing.assert_allclose(drawn["delays"], told["g2"]["delays"], rtol=1e-12)
    np.testing.assert_allclose(drawn["g2"], told["g2"]["values"], rtol=1e-9)
    np.testing.assert_allclose(drawn["errors"], told["g2"]["errors"], atol=1e-12)
    np.testing.assert_allclose(drawn["gamma"], told["fit"]["gamma"], rtol=1e-12)
    np.testing.assert_allclose(drawn["gamma_err"], told["fit"]["gamma_err"], rtol=1e-6)
    with demo.server.client() as client:
        result = client["processed"][told["processed_uid"]]
        assert drawn["counts"] == result["primary"]["sum_image"].read().sum()
        assert drawn["left_out"] == (result["qmap"]["mask"].read() == 0).sum()


def test_the_drawn_curve_is_the_fit(drawn):
    """A wrong model, or that of another bin, is off by much more than the scatter."""
    assert max(drawn["rest"]) < 0.02


def test_every_frame_is_shown_with_its_fate(drawn):
    assert drawn["fates"] == {
        "acquisition": {"accepted": 2000, "corrupt": 0, "missing": 0},
        "storage": {"stored": 2000, "dropped": 0},
        "reduction": {"reduced": 2000, "dropped": 0},
    }


# -- one readable line where there is nothing to show --


def stopped(cwd, **parameters):
    """The line that ends the notebook."""
    notebook, error = run_notebook(cwd, **parameters)
    assert error is not None
    (output,) = outputs(notebook, "error")
    assert output.ename == "Stop", output.evalue
    (line,) = output.traceback
    assert outputs(notebook, "display_data") == []
    return line


def test_without_a_server(tmp_path):
    config = tmp_path / "beamline.yml"
    config.write_text(f"home: {tmp_path / 'home'}\nserver: {{port: 0}}\n")
    line = stopped(tmp_path, config_file=config)
    assert line == "Stopped: no Tiled server runs for this beamline; start one with 'apsdm up'"


def test_with_a_run_that_is_not_there(demo_yml, tmp_path):
    line = stopped(tmp_path, config_file=demo_yml, raw_uid="ffffffff-0000")
    assert line.startswith("Stopped: no run 'ffffffff-0000' in the catalogue")


def test_without_a_run(demo, tmp_path, monkeypatch):
    """A beamline whose catalogue, part of a server that somebody else runs, is empty."""
    with demo.server.client() as client:
        client.create_container("nobody_was_here")
        config = tmp_path / "beamline.yml"
        config.write_text(f"server: {{uri: '{demo.server.uri}/api/v1/metadata/nobody_was_here'}}\n")
        monkeypatch.setenv("TILED_API_KEY", demo.server.api_key)
        try:
            line = stopped(tmp_path, config_file=config)
        finally:
            client.delete_contents("nobody_was_here")
    assert line == "Stopped: the catalogue holds no run yet; take one, for instance with 'apsdm demo'"
