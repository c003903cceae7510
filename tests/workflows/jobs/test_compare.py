"""What two jobs differ in, whatever stands in their folders."""

import os

import pytest

from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows.jobs import compare
from tests.workflows.jobs.samples import shell, workflow


@pytest.fixture(scope="module")
def two(bench):
    """Two jobs that left some things alike, and some not."""
    script = (
        "echo $what > differs; echo same > same; mkdir folder; echo $what > folder/inside; mkfifo pipe; "
        "ln -s /etc link; touch $what; echo got=$what"
    )
    made = workflow(
        shell("one", script, outputs=(r"got=(?P<got>.*)",)), arguments={"what": None}, name="pair"
    )
    return [bench.run(made, what=what) for what in ("a", "b")]


def differences(bench, two, **limits):
    return {(one.kind, one.name): (one.first, one.second) for one in compare(bench.store, *two, **limits)}


def test_arguments_variables_and_files(bench, two):
    found = differences(bench, two)
    assert set(found) == {
        ("argument", "what"),
        ("variable", "got"),
        *(("file", f"one/{name}") for name in ("a", "b", "differs", "folder/inside")),
    }
    assert found["argument", "what"] == ("a", "b")
    assert found["file", "one/a"][1] is None
    assert found["file", "one/differs"][0].startswith("2 bytes, sha256 ")


def test_beyond_the_budget_sizes_are_compared(bench, two):
    assert ("file", "one/differs") not in differences(bench, two, budget=0)


def test_more_files_than_are_looked_at(bench, two):
    with pytest.raises(WorkflowError, match="has more than 3 files"):
        differences(bench, two, most=3)


def test_a_link_in_the_place_of_results_is_not_followed(bench, two, tmp_path):
    (tmp_path / "secret").write_text("secret")
    link = bench.folder(two[0]) / "planted"
    link.symlink_to(tmp_path)
    try:
        found = differences(bench, two)
    finally:
        link.unlink()
    assert found["file", "planted"] == (f"link to {tmp_path}", None)
    assert not [name for _, name in found if "secret" in name]


def test_a_name_that_is_no_utf8_can_be_shown(bench, two):
    path = bench.folder(two[0]) / "one" / os.fsdecode(b"\xff")
    path.touch()
    found = differences(bench, two)
    assert ("file", "one/\\xff") in found
    path.unlink()
