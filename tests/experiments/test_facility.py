"""Where proposals and ESAFs come from."""

import sys
from datetime import date

import pytest

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ConfigError, ExperimentError
from apsdm_bluesky.experiments import (
    FacilityDatabase,
    NewExperiment,
    YamlFacility,
    open_facility,
    with_facility,
)
from apsdm_bluesky.testing import FacilityConformance

ONE = """
proposals:
  - {id: "0012", title: Silica, run: 2026-3, start: 2026-10-06, end: 2026-10-09 08:00}
  - {id: "0012", title: Silica again, run: 2027-1, start: 2027-02-06, end: 2027-02-09, duration_h: 10}
  - {id: "7", title: Elsewhere, run: 2026-3, beamline: 9-ID, start: 2026-10-06, end: 2026-10-09}
esafs:
  - {id: "5", title: Gel, sector: "08", start: 2025-12-30, end: 2026-01-02,
     users: [{badge: "0042", first_name: Ann, last_name: Lee, login: ann},
             {badge: "43", first_name: Bo, last_name: Ray}]}
  - {id: "6", title: Gel, start: 2026-03-01 08:00, end: 2026-03-02}
"""


@pytest.fixture
def facility(tmp_path):
    (tmp_path / "facility.yml").write_text(ONE)
    return YamlFacility(tmp_path / "facility.yml")


class TestFile(FacilityConformance):
    def make(self, folder):
        (folder / "facility.yml").write_text(ONE)
        return YamlFacility(folder / "facility.yml")


class TestSample(FacilityConformance):
    def make(self, folder):
        return open_facility(BeamlineConfig(home=folder))


def test_values_are_those_of_the_file(facility):
    assert [one.id for one in facility.proposals("8-ID")] == ["0012", "0012"]
    assert [one.id for one in facility.proposals("9-ID", "2026-3")] == ["0012", "7"]
    assert facility.proposal("0012").title == "Silica again"
    first = facility.proposal("0012", "2026-3")
    assert (f"{first.start}", f"{first.end}") == ("2026-10-06 00:00:00", "2026-10-09 08:00:00")
    assert (first.duration_s, facility.proposal("0012").duration_s) == (80 * 3600, 36000)
    esaf = facility.esaf("5")
    assert (esaf.sector, esaf.status, [user.badge for user in esaf.users]) == (
        "08",
        "Approved",
        ["0042", "43"],
    )
    assert [[one.id for one in facility.esafs("8-ID", year)] for year in (2025, 2026)] == [["5"], ["6", "5"]]


def test_a_changed_file_is_read_anew(facility, tmp_path):
    assert facility.esaf("5").title == "Gel"
    (tmp_path / "facility.yml").write_text(ONE.replace("Gel", "Glass"))
    assert facility.esaf("5").title == "Glass"
    (tmp_path / "facility.yml").unlink()
    with pytest.raises(ConfigError, match=r"facility.yml: No such file"):
        facility.esaf("5")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("- 1", "holds no mapping"),
        ("proposals: [", "is no YAML"),
        ("proposal: []", "proposal: unknown key"),
        ("esafs: [{id: 0412}]", r"esafs.0.id: write it in quotes"),
        ("esafs: [{id: '1', title: t, start: 2026-13-45, end: 2026-01-01}]", "is no YAML: month"),
        ("esafs: [{id: '1', title: t, start: 5, end: 2026-01-01}]", "esafs.0.start: give a date"),
        ("esafs: [{id: '1', title: t, start: 2026-01-02, end: 2026-01-01}]", "esafs.0: 1 ends on"),
        ("esafs: [{id: '1', title: t, start: 2026-01-02T00:00:00Z, end: 2026-02-01}]", "esafs.0.start: "),
        ("esafs: [{id: 'x', title: t, start: 2026-01-01, end: 2026-01-02}]", "esafs.0.id: String should"),
        (ONE + '  - {id: "5", title: G, start: 2026-03-01, end: 2026-03-02}', "esafs: 5 is there more than"),
        (ONE.replace("2027-1", "2026-3"), "proposals: 0012 in run 2026-3 is there more than once"),
        ("\x00", "is no YAML"),
    ],
)
def test_faults_name_the_file_and_the_key(facility, tmp_path, content, told):
    (tmp_path / "facility.yml").write_text(content)
    with pytest.raises(ConfigError, match=told) as caught:
        facility.proposals("8-ID")
    assert str(caught.value).startswith(f"{tmp_path / 'facility.yml'}: ")
    assert "\n" not in str(caught.value)


def real(**facility):
    return BeamlineConfig(detectors={"det": {"prefix": "x:"}}, experiments={"facility": facility})


def test_a_real_beamline_has_none_by_default():
    none = open_facility(real())
    assert isinstance(none, FacilityDatabase)
    assert (list(none.esafs("x")), list(none.proposals("x"))) == ([], [])
    for call in (none.esaf, none.proposal):
        with pytest.raises(ExperimentError, match=r"there is no facility database; set experiments.facility"):
            call("1")


def test_the_file_of_the_configuration(facility, tmp_path):
    assert open_facility(real(file=tmp_path / "facility.yml")).esaf("5") == facility.esaf("5")


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """An installed distribution with entry points."""
    (tmp_path / "some_facility.py").write_text(
        "from pathlib import Path\n"
        "from apsdm_bluesky.experiments import YamlFacility\n"
        "def good(config):\n    return YamlFacility(Path(__file__).with_name(config.name))\n"
        "def bad(config):\n    return 5\n"
        "value = 5\n"
    )
    info = tmp_path / "some_facility-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-facility\nVersion: 1\n")
    names = {"good": "good", "bad": "bad", "no-callable": "value", "no-name": "missing"}
    lines = [f"{name} = some_facility:{value}" for name, value in names.items()]
    text = "\n".join(["[apsdm_bluesky.facility]", *lines, "no-module = no_such_module:x", ""])
    (info / "entry_points.txt").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("some_facility", None)


def test_a_plugin(plugins, tmp_path):
    (tmp_path / "simulated").write_text(ONE)
    assert open_facility(real(plugin="good")).esaf("5").title == "Gel"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("other", "'other' is not installed; installed are: bad, good, no-callable, no-module, no-name"),
        ("bad", "'bad' makes a int, which is no FacilityDatabase"),
        ("no-callable", "cannot be called"),
        ("no-name", "cannot be loaded"),
        ("no-module", "cannot be loaded: No module named"),
    ],
)
def test_a_plugin_that_cannot_be_used(plugins, name, told):
    with pytest.raises(ConfigError, match=told) as caught:
        open_facility(real(plugin=name))
    assert str(caught.value).startswith("experiments.facility.plugin: ")


def test_an_experiment_takes_what_is_not_given(facility):
    new, nameless = with_facility(NewExperiment(name="a", esaf="5", proposal="0012"), facility)
    assert (new.description, new.start, new.end) == ("Gel", date(2025, 12, 30), date(2026, 1, 2))
    assert new.users == ("ann",)
    assert [user.badge for user in nameless] == ["43"]
    given = NewExperiment(name="a", proposal="0012", users=("me",), description="d", end=date(2027, 3, 1))
    new, nameless = with_facility(given, facility)
    assert (new.users, new.description, nameless) == (("me",), "d", ())
    assert (new.start, new.end) == (date(2027, 2, 6), date(2027, 3, 1))
    new, _ = with_facility(NewExperiment(name="a", proposal="0000007", esaf="05"), facility)
    assert (new.proposal, new.esaf) == ("7", "5")
    plain = NewExperiment(name="a")
    assert with_facility(plain, facility) == (plain, ())
    with pytest.raises(ExperimentError, match="proposal '99' is not in"):
        with_facility(NewExperiment(name="a", proposal="99"), facility)
