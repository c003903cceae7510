"""`apsdm workflow`: definitions kept, listed, shown and changed."""

import json

import pytest

from apsdm_bluesky.workflows import read_dm, write_dm
from tests.commands import told
from tests.workflows.samples import DM_EXAMPLE

TEXT = """\
name: checksum
owner: staff
description: "Note \\e[31mit"
arguments: {path: null}
stages:
- {name: sum, command: echo $path}
"""


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "checksum.yml"
    path.write_text(TEXT)
    return path


def test_what_is_shown_can_be_changed_and_added_again(here, home, file):
    assert here("workflow", "add", file, home=home).stdout == "staff/checksum version 1\n"
    shown = here("workflow", "show", "checksum", home=home).stdout
    file.write_text(shown)
    assert here("workflow", "add", file, home=home).stdout == "staff/checksum version 1, unchanged\n"
    file.write_text(shown.replace("echo", "cat"))
    kept = json.loads(here("workflow", "add", file, "--json", home=home).stdout)
    assert kept == {"workflows": [{"owner": "staff", "name": "checksum", "version": 2, "added": True}]}
    assert "cat $path" in here("workflow", "show", "staff/checksum", home=home).stdout
    assert here("workflow", "show", "checksum", "--version", 1, home=home).stdout == shown


def test_workflows_and_their_versions_are_listed(here, home, file):
    assert "no workflow yet" in here("workflow", "ls", home=home).stdout
    here("workflow", "add", file, home=home)
    text = here("workflow", "ls", home=home).stdout
    assert "staff/checksum  1        1       path       Note  [31mit" in text, "no escape reaches a terminal"
    (listed,) = json.loads(here("workflow", "ls", "--json", home=home).stdout)["workflows"]
    assert (listed["version"], listed["stages"], listed["arguments"]) == (1, ["sum"], {"path": None})
    table = here("workflow", "show", "checksum", "--versions", home=home).stdout
    assert "(command line)" in table
    shown = json.loads(here("workflow", "show", "checksum", "--json", home=home).stdout)
    assert [each["version"] for each in shown["versions"]] == [1]
    assert shown["text"].startswith("name: checksum")


def test_all_faults_are_told_one_a_line_and_nothing_is_kept(here, home, file, tmp_path):
    bad = tmp_path / "bad.yml"
    bad.write_text(TEXT.replace("$path", "$pth").replace("name: checksum", "name: ''"))
    broken = tmp_path / "broken.yml"
    broken.write_text("name: [")
    done = here("workflow", "add", file, bad, broken, tmp_path / "none.yml", home=home, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["apsdm"] * 4
    assert f"{bad}: key 'name': is empty" in lines[0]
    assert f"{bad}: stage 'sum', key 'command': variable $pth is not known" in lines[1]
    assert f"{broken}: is no YAML" in lines[2]
    assert "none.yml: No such file" in lines[3]
    assert "no workflow yet" in here("workflow", "ls", home=home).stdout


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("example.py", repr(DM_EXAMPLE), ()),
        ("example.json", json.dumps(DM_EXAMPLE), ()),
        ("example.txt", json.dumps(DM_EXAMPLE), ["--dm"]),
    ],
)
def test_a_definition_of_the_dm_system(here, home, tmp_path, name, text, options):
    (tmp_path / name).write_text(text)
    assert (
        here("workflow", "add", tmp_path / name, *options, home=home).stdout == "bdp/example-01 version 1\n"
    )
    shown = json.loads(here("workflow", "show", "example-01", "--dm", home=home).stdout)
    assert shown == write_dm(read_dm(DM_EXAMPLE)) == DM_EXAMPLE


def test_a_dm_definition_that_is_none_is_told_with_its_file(here, home, tmp_path):
    (tmp_path / "bad.json").write_text("[1]")
    done = here("workflow", "add", tmp_path / "bad.json", home=home, check=False)
    assert "bad.json: the definition is list" in told(done)


def test_a_name_that_is_none_or_several(here, home, file):
    assert "is not known; see 'apsdm workflow ls'" in told(
        here("workflow", "show", "x", home=home, check=False)
    )
    here("workflow", "add", file, home=home)
    file.write_text(TEXT.replace("staff", "others"))
    here("workflow", "add", file, home=home)
    done = here("workflow", "show", "checksum", home=home, check=False)
    assert done.returncode == 1
    assert "owned by others, staff: write OWNER/checksum" in told(done)
    assert "owner: others" in here("workflow", "show", "others/checksum", home=home).stdout
    done = here("workflow", "show", "others/checksum", "--version", 9, home=home, check=False)
    assert "version 9 is not known" in told(done)
