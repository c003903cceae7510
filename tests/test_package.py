"""The package as a whole."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EPICS = ["epics", "pvaccess"]
HEAVY = [*EPICS, "bluesky", "ophyd", "tiled", "databroker", "globus_sdk", "numpy", "numba", "zarr", "typer"]


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import apsdm_bluesky", HEAVY),
        ("import apsdm_bluesky.sim", [*EPICS, "caproto"]),
        ("import apsdm_bluesky.cli", [*EPICS, "bluesky", "ophyd", "tiled", "numba", "IPython"]),
        ("import apsdm_bluesky.reduction", [*EPICS, "bluesky", "ophyd", "tiled", "globus_sdk"]),
    ],
)
def test_import_stays_light(statement, forbidden):
    script = f"import sys; {statement}; print(*(name for name in {forbidden!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_session_is_exported_lazily():
    import apsdm_bluesky

    assert callable(apsdm_bluesky.open_session)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = apsdm_bluesky.nonsense


def test_the_root_links_are_relative_and_point_into_the_package():
    for name in ("callbacks", "devices", "tiled_config"):
        link = ROOT / name
        assert link.is_symlink()
        assert link.readlink() == Path("apsdm_bluesky") / name


def test_every_dependency_is_pinned_and_has_a_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]
    names = {_name(requirement) for requirement in wanted} - {"apsdm-bluesky"}
    pinned = {_name(line) for line in (ROOT / "constraints.txt").read_text().split()}
    assert names <= pinned
    reasons = (ROOT / "docs/explanations/decisions/0002-dependencies.md").read_text().lower()
    assert [name for name in sorted(names) if name not in reasons] == []


def test_constraints_hold_names_and_versions_only():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, _, number = line.partition("==")
        assert name
        assert number[0].isdigit()


def _name(requirement):
    for mark in "[<>=!~; ":
        requirement = requirement.partition(mark)[0]
    return requirement.lower().replace("_", "-")
