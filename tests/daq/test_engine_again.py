"""Files that were taken before, or look so; folders that are not what they were: told with a real agent."""

import os
import shutil
import threading
from pathlib import Path

import pytest

from apsdm_bluesky.daq import DaqState, Kind
from tests.daq.bench import Bench, Experiment
from tests.daq.trees import write
from tests.waiting import wait_for

TIME = (1_700_000_000, 1_700_000_000)


def test_files_of_two_folders_that_have_one_name_size_and_time_are_both_taken(experiment: Experiment) -> None:
    for folder, content in (("a", b"AAAA"), ("b", b"BBBB")):
        os.utime(write(experiment.source / folder / "scan.dat", content), TIME)
    first = experiment.upload(experiment.source / "a")
    second = experiment.upload(experiment.source / "b")
    assert experiment.stored() == {"scan.dat": b"AAAA", "scan.v2.dat": b"BBBB"}
    experiment.check(first, second)


def test_a_file_that_takes_the_name_of_one_of_its_size_and_time_is_a_version(experiment: Experiment) -> None:
    path = write(experiment.source / "scan.dat", b"AAAA")
    os.utime(path, TIME)
    daq = experiment.start()
    experiment.wait_catalogued(daq, "scan.dat")
    other = write(experiment.source.parent / "other", b"BBBB")
    os.utime(other, TIME)
    other.rename(path)
    experiment.wait_version(daq, "scan.dat", 2)
    experiment.stop(daq)
    assert experiment.stored() == {"scan.dat": b"AAAA", "scan.v2.dat": b"BBBB"}
    experiment.check(daq)


@pytest.mark.parametrize("what", ["skip_catalogue", "skip_archive"])
def test_what_one_upload_leaves_out_the_next_one_does(experiment: Experiment, what: str) -> None:
    write(experiment.source / "x.dat", b"content")
    experiment.upload(**{what: True})
    experiment.upload()
    runs = experiment.runs()
    assert [run.delivered for run in runs][-1] is False
    assert "archive" in runs[-1].notes
    experiment.upload()
    assert len(experiment.runs()) == len(runs)


def test_an_upload_that_finds_no_file_does_not_end_well(experiment: Experiment) -> None:
    ended = experiment.upload()
    assert (ended.state, ended.reason) == (DaqState.FAILED, "no file was found")


def test_an_upload_of_a_file_that_goes_on_growing_ends(experiment: Experiment) -> None:
    path = write(experiment.source / "endless.log")
    write(experiment.source / "whole.dat")
    stop = threading.Event()

    def append() -> None:
        while not stop.wait(0.02):
            with path.open("ab") as file:
                file.write(b"more")

    writer = threading.Thread(target=append)
    writer.start()
    try:
        ended = experiment.upload()
    finally:
        stop.set()
        writer.join()
    assert (ended.state, ended.counts.catalogued) == (DaqState.FAILED, 1)
    assert experiment.reason(ended, "endless.log") == "is still being written"
    experiment.check(ended)


def test_a_folder_that_is_turned_elsewhere_is_not_read(experiment: Experiment) -> None:
    write(experiment.source / "x.dat")
    daq = experiment.start()
    experiment.wait_catalogued(daq, "x.dat")
    experiment.source.rename(experiment.source.with_name(f"{experiment.name} moved"))
    experiment.source.symlink_to(experiment.bench.config.folders.spool)
    experiment.wait_hindered(daq, "holds the beamline's own state")
    assert set(experiment.stored()) == {"x.dat"}
    experiment.source.unlink()
    experiment.source.symlink_to(experiment.root)
    experiment.wait_hindered(daq, "is where the experiment's files go")
    experiment.source.unlink()
    experiment.source.mkdir()
    write(experiment.source / "y.dat")
    experiment.wait_catalogued(daq, "y.dat")
    experiment.stop(daq)
    experiment.check(daq)


def test_an_experiment_whose_folder_is_gone_holds_up_no_other(bench: Bench) -> None:
    gone, other = bench.experiment(), bench.experiment()
    write(gone.source / "x.dat")
    with bench.agent():
        first = gone.start()
        gone.wait_catalogued(first, "x.dat")
        away = Path(f"{gone.root} away")
        gone.root.rename(away)
        write(gone.source / "y.dat")
        gone.wait_hindered(first, "No such file or directory")
        write(other.source / "z.dat")
        second = other.upload()
        assert second.state is DaqState.DONE
        away.rename(gone.root)
        gone.wait_catalogued(first, "y.dat")
        wait_for(lambda: gone.store.get(first.id).reason == "", 60, "nothing hinders it any more")
        gone.stop(first)
    gone.check(first)
    other.check(second)


def test_a_folder_of_the_experiment_that_is_removed_is_made_anew(experiment: Experiment) -> None:
    write(experiment.source / "a/x.dat")
    daq = experiment.start(Kind.DAQ)
    experiment.wait_catalogued(daq, "a/x.dat")
    shutil.rmtree(experiment.data / "a")
    shutil.rmtree(experiment.root / ".incoming")
    write(experiment.source / "a/y.dat")
    experiment.wait_catalogued(daq, "a/y.dat")
    experiment.stop(daq)
    assert set(experiment.stored()) == {"a/y.dat"}
