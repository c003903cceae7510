"""`apsdm experiment`: made, listed, shown, chosen."""

import json

import pytest

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.experiments import CurrentExperiment
from tests.commands import apsdm, told


@pytest.fixture
def experiment(here, tmp_path):
    """Runs a command of the group in a state folder of its own; with --json the object that it tells."""

    def run(*arguments, check=True):
        done = here("experiment", *arguments, home=tmp_path, check=check)
        return json.loads(done.stdout) if check and "--json" in arguments else done

    return run


def current(tmp_path):
    return CurrentExperiment(BeamlineConfig(home=tmp_path).folders.experiments).get()


def test_an_experiment_from_beginning_to_end(tmp_path):
    """As a person types it."""
    made = apsdm("experiment", "create", "gel-1", "--type", "XPCS", "--esaf", "900501", home=tmp_path)
    assert made.stdout.splitlines()[0] == f"gel-1: {tmp_path / 'data/gel-1'}"
    assert (tmp_path / "data/gel-1/analysis").is_dir()
    assert apsdm("experiment", "use", "gel-1", home=tmp_path).stdout == "gel-1 is the current experiment\n"
    assert current(tmp_path) == "gel-1"
    listed = apsdm("experiment", "ls", home=tmp_path).stdout.splitlines()
    assert listed[1].split()[:6] == ["*", "gel-1", "simulated", "XPCS", "2026-10-06", "2026-10-09"]
    added = apsdm("experiment", "add-user", "gel-1", "me", home=tmp_path)
    assert added.stdout == "gel-1: aexample bsample me\n"
    shown = apsdm("experiment", "show", "gel-1", home=tmp_path).stdout
    assert "description  Ageing of a colloidal gel made of silica\n" in shown
    assert "user me added  by " in shown
    again = apsdm("experiment", "create", "gel-1", home=tmp_path, check=False)
    assert again.returncode == 1
    assert told(again).startswith("experiment 'gel-1' is there already at station 'simulated'")


def test_all_that_can_be_given(experiment, tmp_path):
    words = ["--description", "Größe", "--proposal", "0900101", "--start", "2026-10-07", "--user", "ann"]
    made = experiment("create", "one", *words, "--user", "bo", "--station", "other", "--json")["experiment"]
    assert (made["description"], made["users"]) == ("Größe", ["ann", "bo"])
    assert (made["start"], made["end"]) == ("2026-10-07", "2026-10-09")
    assert (made["station"], made["id"], made["proposal"], made["esaf"]) == ("other", 1, "0900101", None)
    assert made["data"] == str(tmp_path / "data/one/data")
    assert "'one' of station 'simulated' is not known" in told(experiment("show", "one", check=False))
    shown = experiment("show", "one", "--station", "other", "--json")
    assert shown["experiment"] == made
    assert [change["told"] for change in shown["changes"]] == ["created"]
    changed = experiment("add-user", "one", "cy", "--station", "other", "--json")["experiment"]
    assert changed["users"] == ["ann", "bo", "cy"]


def test_listing(experiment, tmp_path):
    assert experiment("ls").stdout == "no experiment; 'apsdm experiment create NAME' makes one\n"
    experiment("create", "one", "--user", "ann")
    experiment("create", "two", "--station", "other")
    assert [one["name"] for one in experiment("ls", "--json")["experiments"]] == ["two", "one"]
    assert [one["name"] for one in experiment("ls", "--user", "ann", "--json")["experiments"]] == ["one"]
    assert [one["name"] for one in experiment("ls", "--station", "other", "--json")["experiments"]] == ["two"]
    assert "*" not in experiment("ls").stdout
    assert experiment("ls", "--json")["current"] is None


def test_a_long_description_is_shortened_in_the_list(experiment):
    experiment("create", "long", "--description", "x" * 500)
    (line,) = experiment("ls").stdout.splitlines()[1:]
    told_of = line.split()[-1]
    assert len(told_of) == 60
    assert experiment("ls", "--json")["experiments"][0]["description"] == "x" * 500


def test_a_damaged_choice_does_not_hide_the_list(experiment, tmp_path):
    experiment("create", "one")
    path = BeamlineConfig(home=tmp_path).folders.experiments / "current"
    path.write_bytes(b"\xff/")
    listed = experiment("ls")
    assert listed.stdout.splitlines()[1].startswith("  ")
    assert "'apsdm experiment use' writes it anew" in listed.stderr
    assert experiment("ls", "--json")["current"] is None


def test_choosing(experiment, tmp_path):
    experiment("create", "one")
    assert experiment("use", "one", "--json") == {"current": "one"}
    assert experiment("ls", "--json")["current"] == current(tmp_path) == "one"
    assert experiment("use", "--none").stdout == "no experiment goes on\n"
    assert current(tmp_path) is None


@pytest.fixture
def facility(tmp_path, write_config):
    (tmp_path / "facility.yml").write_text(
        'esafs: [{id: "5", title: "T\\e[31m\\n", start: 2026-01-01, end: 2026-01-02, users: ['
        '{badge: "1", first_name: Ann, last_name: Lee}]}]\n'
    )
    return write_config(experiments={"facility": {"file": str(tmp_path / "facility.yml")}})


def test_whoever_has_no_login_name_is_told(facility, tmp_path):
    done = apsdm("experiment", "create", "one", "--esaf", "5", "--config", facility)
    assert told(done) == (
        "Ann Lee (badge 1) has no login name at the facility; 'apsdm experiment add-user one USER' adds it"
    )
    for command in (["ls"], ["show", "one"]):
        shown = apsdm("experiment", *command, "--config", facility).stdout
        assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["create", "../x"], 1, "'../x' is no name for an experiment"),
        (["create", "x", "--proposal", "7"], 1, "proposal '7' is not in"),
        (["create", "x", "--esaf", "../7"], 1, "ESAF '../7' is not in"),
        (["create", "x", "--user", "a b"], 1, "'a b' is no login name"),
        (["create", "x", "--start", "2026-10-10", "--end", "2026-10-01"], 1, "before it starts"),
        (["create", "x", "--start", "tomorrow"], 2, "tomorrow"),
        (["create", "there"], 1, "is there already, and is not empty"),
        (["show", "x"], 1, "experiment 'x' of station 'simulated' is not known"),
        (["add-user", "x", "ann"], 1, "is not known; see 'apsdm experiment ls'"),
        (["use", "x"], 1, "is not known"),
        (["use"], 2, "give either NAME or --none"),
        (["use", "x", "--none"], 2, "give either NAME or --none"),
    ],
)
def test_a_fault_is_one_line(experiment, tmp_path, arguments, code, text):
    (tmp_path / "data/there/other").mkdir(parents=True)
    done = experiment(*arguments, check=False)
    assert done.returncode == code
    assert text in told(done)
    assert done.stdout == ""
    assert current(tmp_path) is None


def test_a_shell_for_an_experiment_that_is_not_there(tmp_path):
    done = apsdm("shell", "--experiment", "nope", home=tmp_path, check=False)
    assert done.returncode == 1
    assert "experiment 'nope' of station 'simulated' is not known" in told(done)
