"""A demo run leaves this side's disks, and comes back: command line, agent, catalogue, reduction."""

import json
import os
import tarfile

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from apsdm_bluesky.agent import agent_process
from apsdm_bluesky.archive import Ledger, LocalCopy, decode_manifest, find_tombstone, remove_tombstone
from apsdm_bluesky.archive._local_copy import LocalRestored, RestoreAsked
from apsdm_bluesky.cli import app
from apsdm_bluesky.config import load_config
from tests.commands import apsdm, told
from tests.servers import RunningServer
from tests.waiting import wait_for


class Beamline:
    """A demo run, archived, with its server running; `run`: its entry in the catalogue."""

    def __init__(self, folder):
        self.home = folder / "home"
        self.told = json.loads(apsdm("demo", "--frames", 64, "--json", home=self.home).stdout)
        self.uid = self.told["raw_uid"]
        self.server = RunningServer(self.home)
        self.file = folder / "beamline.yml"

    def config(self, **archive):
        self.file.write_text(json.dumps({"home": str(self.home), "archive": archive}))
        return self.file

    def release(self, *arguments, **archive):
        """What `apsdm archive release --json` tells."""
        return json.loads(self.text(*arguments, "--json", **archive))

    def text(self, *arguments, **archive):
        """What `apsdm archive release` prints."""
        words = ["archive", "release", *arguments, "--config", str(self.config(**archive))]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        return done.stdout

    def entry(self):
        ledger = Ledger(self.home / "archive")
        try:
            return ledger.runs.get(self.uid)
        finally:
            ledger.close()

    def wait_for(self, local):
        wait_for(lambda: self.entry().local is local, 60, f"the run {local}")

    def restore(self):
        """As `apsdm archive restore` does it: files from the bundle into their places."""
        ledger = Ledger(self.home / "archive")
        ledger.runs.apply(self.uid, RestoreAsked(job="test"), actor="test")
        (record,) = ledger.bundles_of(self.uid)
        tar = self.home / "tape" / record.destination
        manifest = decode_manifest(tar.with_suffix(".manifest.json").read_bytes())
        raw = [member for member in manifest.members if member.path.startswith("raw/")]
        with tarfile.open(tar) as archive:
            for member in raw:
                place = self.home / member.path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(archive.extractfile(member.path).read())
                os.utime(place, ns=(member.mtime_ns, member.mtime_ns))
        for member in raw:
            place = self.home / member.path
            while (found := find_tombstone(place)) is not None:
                remove_tombstone(found.with_name(found.name.removesuffix(".released.json")))
        ledger.runs.apply(self.uid, LocalRestored(), actor="test")
        ledger.close()


@pytest.fixture(scope="module")
def beamline(tmp_path_factory):
    running = Beamline(tmp_path_factory.mktemp("release"))
    yield running
    running.server.close()


def test_a_dry_run_tells_what_stays_and_why(beamline):
    (line,) = beamline.release(beamline.uid[:8])["runs"]
    assert (line["allowed"], line["asked"], line["local"]) == (False, False, "HELD")
    (reason,) = line["reasons"]
    assert reason.startswith("kept until 20")
    assert reason.endswith("(archive.keep_days)")
    told = beamline.release("--yes")
    assert (told["bytes"], told["asked"]) == (0, 0)


def test_a_dry_run_tells_what_may_go_and_does_nothing(beamline):
    told = beamline.release(keep_days=0)
    (line,) = told["runs"]
    assert (line["uid"], line["allowed"], line["asked"]) == (beamline.uid, True, False)
    assert told["bytes"] == line["bytes"] > 1000
    assert "verified by restored-sha256 on 20" in line["reasons"][0]
    assert beamline.entry().local is LocalCopy.HELD
    text = beamline.text(keep_days=0)
    assert f"may go  {beamline.uid}" in text
    assert "Nothing was done; --yes has it done" in text


def test_selections(beamline):
    assert beamline.release("--before", "2020-01-01", keep_days=0)["runs"] == []
    assert beamline.release("--experiment", "nobody's", keep_days=0)["runs"] == []
    assert len(beamline.release("--before", "2100-01-01", keep_days=0)["runs"]) == 1
    fault = apsdm("archive", "release", "none", "--config", beamline.config(), check=False)
    assert fault.returncode == 1
    assert "run none: the archive knows none" in told(fault)


def test_the_catalogue_is_whole_while_the_frames_are_on_tape_and_after(beamline):
    with beamline.server.client() as root:
        run, result = root["raw"][beamline.uid], root["processed"][beamline.told["processed_uid"]]
        keys = [key for key in run["primary"] if key != "time"]
        frames = {key: run["primary"][key] for key in keys}
        before = {key: _dense(array.read()) for key, array in frames.items()}
        g2 = result["primary"]["g2"].read()
        documents = list(run.documents())
        assert any(array.any() for array in before.values())

        text = beamline.text("--yes", keep_days=0)
        assert f"asked   {beamline.uid}" in text
        assert "It is done when the agent runs" in text
        with agent_process(load_config(beamline.config(keep_days=0))):
            beamline.wait_for(LocalCopy.RELEASED)
        assert not [path for path in (beamline.home / "raw").rglob("c.*") if path.is_file()]

        assert beamline.uid in list(root["raw"])
        assert sorted(run["primary"]) == sorted([*keys, *(set(run["primary"]) - set(keys))])
        np.testing.assert_array_equal(result["primary"]["g2"].read(), g2)
        assert list(run.documents()) == documents
        advice = (
            f"run {beamline.uid} is on tape, restore takes about .*: apsdm archive restore {beamline.uid}"
        )
        for array in frames.values():
            with pytest.raises(httpx.HTTPStatusError, match=advice):
                array.read()
        fault = apsdm("reduce", beamline.uid, "--no-publish", "--home", beamline.home, check=False)
        assert fault.returncode == 1
        assert f"run {beamline.uid} is on tape" in told(fault)
        assert "released already" in beamline.release(beamline.uid, keep_days=0)["runs"][0]["reasons"]

        beamline.restore()
        for key, array in frames.items():
            np.testing.assert_array_equal(_dense(array.read()), before[key])
        report = json.loads(
            apsdm("reduce", beamline.uid, "--no-publish", "--json", home=beamline.home).stdout
        )
        assert report["equal_results"] == [beamline.told["processed_uid"]]


def _dense(array):
    return array.todense() if hasattr(array, "todense") else array
