"""`apsdm archive ls`, `show`, `pin`, `resume`, on a ledger with runs in several states."""

import json
from dataclasses import replace

import pytest

from apsdm_bluesky.archive import Ledger, Resumed, RunEntry, State
from apsdm_bluesky.archive import _events as events
from tests.commands import apsdm, told

DAY = 86400.0
BUNDLED = events.Bundled(
    destination="x/aaa1.tar", size=5_000_000_000, sha256="abc", md5="b", manifest_size=2, manifest_sha256="c"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Run aaa1 is verified (two years ago), aaa2 parked, bbb waits."""
    folder = tmp_path_factory.mktemp("archive")
    ledger = Ledger(folder / "archive")
    run = RunEntry(
        uid="aaa1", collection="local", experiment="silica", started=1_700_000_000.0, size=1_500_000
    )
    others = [replace(run, uid="aaa2", started=run.started + DAY), replace(run, uid="bbb", experiment=None)]
    for entry in (run, *others):
        ledger.runs.add(entry, actor="test")
    for uid in ("aaa1", "aaa2"):
        ledger.plan([uid], actor="test")
        ledger.apply(uid, BUNDLED, actor="test")
    ledger.apply("aaa2", events.Blocked(reason="the tape\nis \x1b[31mfull", needs_person=True), actor="test")
    for event in (
        events.SendPrepared(submission_id="s"),
        events.SendAccepted(task_id="t"),
        events.Arrived(found_size=5_000_000_000, found_md5=None, found_manifest_size=2, residency="on_disk"),
        events.Md5Told(found_md5="b"),
    ):
        ledger.apply("aaa1", event, actor="test")
    ledger.close()
    return folder


def listed(home, *options):
    return [
        run["uid"] for run in json.loads(apsdm("archive", "ls", "--json", *options, home=home).stdout)["runs"]
    ]


def test_runs_are_listed_latest_first_and_filtered(home):
    assert listed(home) == ["aaa2", "aaa1", "bbb"]
    assert listed(home, "--state", "verified", "--state", "QUEUED") == ["aaa1", "bbb"]
    assert listed(home, "--experiment", "silica", "--since", "2023-11-15") == ["aaa2"]
    assert listed(home, "--run", "aaa", "--until", "2023-11-15") == ["aaa1"]
    assert listed(home, "--limit", 1) == ["aaa2"]
    assert listed(home, "--run", "%") == []


def test_a_person_sees_states_sizes_and_reasons_in_lines(home):
    text = apsdm("archive", "ls", home=home).stdout
    assert "2023-11-14 22:13  aaa1  silica      1.5 MB  VERIFIED  held" in text
    assert "1 PARKED, 1 QUEUED, 1 VERIFIED" in text
    assert "\x1b" not in text, "what came from outside cannot steer a terminal"


def test_bad_filters_are_told(home):
    done = apsdm("archive", "ls", "--state", "LOST", home=home, check=False)
    assert done.returncode == 2
    assert "give one of QUEUED" in told(done)


def test_show_tells_evidence_and_history(home):
    shown = json.loads(apsdm("archive", "show", "aaa1", "--json", home=home).stdout)
    assert shown["bundles"][0]["evidence"] == "destination-md5"
    assert [line["event"] for line in shown["history"]][-1] == "Md5Told"
    text = apsdm("archive", "show", "aaa1", home=home).stdout
    assert "bundle     local:x/aaa1.tar" in text
    assert "evidence destination-md5 of 20" in text


@pytest.mark.parametrize(("uid", "why"), [("aaa", "several begin so"), ("zzz", "knows none")])
def test_a_run_that_is_not_one_is_told(home, uid, why):
    for command in (["show", uid], ["pin", uid, "--days", "1"], ["resume", uid]):
        done = apsdm("archive", *command, home=home, check=False)
        assert done.returncode == 1
        assert why in told(done)


def test_a_pin_is_put_on_and_taken_off(home):
    assert "pinned until 20" in apsdm("archive", "pin", "bbb", "--days", "2", home=home).stdout
    assert "pinned until 20" in apsdm("archive", "show", "bbb", home=home).stdout
    assert "no pin any more" in apsdm("archive", "pin", "bbb", "--days", "0", home=home).stdout
    assert "pinned" not in apsdm("archive", "show", "bbb", home=home).stdout


def test_only_what_is_stuck_is_resumed_and_by_whom_is_kept(home):
    assert "only what is parked" in told(apsdm("archive", "resume", "aaa1", home=home, check=False))
    assert "bundle aaa2: BUNDLED" in apsdm("archive", "resume", "aaa2", home=home).stdout
    ledger = Ledger(home / "archive")
    line = ledger.history("aaa2")[-1]
    assert (line.event, line.to_state) == (Resumed.__name__, State.BUNDLED)
    assert line.actor.endswith("(command line)")
    ledger.close()


def test_bundles_that_the_tape_may_remove(home, tmp_path):
    assert "no bundle's retention ends soon" in apsdm("archive", "ls", "--expiring", home=home).stdout
    config = tmp_path / "beamline.yml"
    config.write_text(json.dumps({"archive": {"retention_days": 30, "expiry_warning_days": 60}}))
    found = json.loads(apsdm("archive", "ls", "--expiring", "--json", "--config", config, home=home).stdout)[
        "expiring"
    ]
    assert [one["bundle"]["uid"] for one in found] == ["aaa1"]
