"""Files as they come, into the experiment, its runs and its jobs: told with a real agent."""

import os
from pathlib import Path

import h5py
import pytest

from apsdm_bluesky.daq import DaqState, Kind
from apsdm_bluesky.errors import DaqError
from tests.daq.bench import Experiment
from tests.daq.trees import write
from tests.waiting import wait_for


def test_a_daq_takes_files_as_they_come_until_it_is_stopped(experiment: Experiment) -> None:
    source = experiment.source
    write(source / "before.dat", b"was there")
    daq = experiment.start()
    experiment.wait_catalogued(daq, "before.dat")
    write(source / "one.dat", b"1")
    write(source / "a/b/c/deep é 中.dat", b"22")
    write(source / "empty", b"")
    experiment.wait_catalogued(daq, "one.dat", "a/b/c/deep é 中.dat", "empty")
    write(source / "a/b/later.dat", os.urandom(5_000_000))
    experiment.wait_catalogued(daq, "a/b/later.dat")
    ended = experiment.stop(daq)
    assert (ended.state, ended.reason) == (DaqState.DONE, "")
    assert (ended.counts.catalogued, ended.counts.bytes) == (5, 9 + 1 + 2 + 5_000_000)
    assert set(experiment.stored()) == {
        "before.dat", "one.dat", "a/b/c/deep é 中.dat", "empty", "a/b/later.dat",
    }  # fmt: skip
    experiment.check(daq)
    write(source / "too late.dat")
    assert experiment.store.get(daq.id) == ended


def test_patterns_hidden_names_and_a_destination(experiment: Experiment) -> None:
    for name in (
        "raw/x.h5.txt",
        "raw/x.tmp",
        "raw/sub/y.txt",
        "other/z.txt",
        "raw/.hidden.txt",
        ".git/q.txt",
    ):
        write(experiment.source / name, name.encode())
    some = experiment.upload(include=("raw/*",), exclude=("*.tmp",), destination="day 1/in")
    assert set(experiment.stored()) == {"day 1/in/raw/x.h5.txt", "day 1/in/raw/sub/y.txt"}
    every = experiment.upload(hidden=True, exclude=("raw",), destination="all")
    assert set(experiment.stored()) - {"day 1/in/raw/x.h5.txt", "day 1/in/raw/sub/y.txt"} == {
        "all/other/z.txt", "all/.git/q.txt",
    }  # fmt: skip
    experiment.check(some, every)


def test_what_was_there_before_stays_where_it_is_when_it_is_not_asked_for(experiment: Experiment) -> None:
    old = write(experiment.source / "old.dat", b"old")
    write(experiment.source / "changed.dat", b"old")
    wait_for(lambda: write(experiment.root / "probe").stat().st_ctime > old.stat().st_ctime + 0.1)
    daq = experiment.start(existing=False)
    write(experiment.source / "new.dat", b"new")
    write(experiment.source / "changed.dat", b"was changed")
    experiment.wait_catalogued(daq, "new.dat", "changed.dat")
    experiment.stop(daq)
    assert experiment.stored() == {"new.dat": b"new", "changed.dat": b"was changed"}
    experiment.check(daq)


def test_an_upload_of_a_folder_takes_what_is_there_and_ends(experiment: Experiment) -> None:
    for number in range(300):
        write(experiment.source / f"{number % 7}/{number}.dat", bytes([number % 256]) * number)
    upload = experiment.upload()
    assert (upload.state, upload.counts.catalogued) == (DaqState.DONE, 300)
    experiment.check(upload)
    assert len(experiment.runs()) < 20


def test_an_upload_of_a_single_file(experiment: Experiment) -> None:
    path = write(experiment.source / "one.dat", b"one")
    write(experiment.source / "two.dat", b"two")
    upload = experiment.upload(path, destination="in")
    assert upload.state is DaqState.DONE
    assert experiment.stored() == {"in/one.dat": b"one"}
    experiment.check(upload)
    (run,) = experiment.runs()
    assert run.start["plan_name"] == "upload"
    assert (run.start["daq"], run.start["owner"], run.start["files"]) == (upload.id, "eva", True)
    assert run.notes == {"archive": {"collection": "local"}}


def test_the_same_upload_twice_brings_nothing_twice(experiment: Experiment) -> None:
    for name in ("a.dat", "b/c.dat"):
        write(experiment.source / name, name.encode())
    first = experiment.upload()
    again = experiment.upload()
    assert again.state is DaqState.DONE
    assert {file.reason for file in experiment.files(again).values()} == {"was there already"}
    assert [file.run for file in experiment.files(again).values()] == [
        file.run for file in experiment.files(first).values()
    ]
    os.utime(experiment.source / "a.dat")
    touched = experiment.upload()
    experiment.check(first, again, touched)
    assert len(experiment.runs()) == 1


def test_a_stored_file_that_is_gone_is_put_back(experiment: Experiment) -> None:
    write(experiment.source / "a.dat", b"precious")
    first = experiment.upload()
    (experiment.data / "a.dat").unlink()
    again = experiment.upload()
    assert experiment.stored() == {"a.dat": b"precious"}
    experiment.check(first, again)
    assert ("a.dat", "had been removed from the experiment, and was put back") in experiment.notices(again)


def test_a_file_that_is_changed_after_it_was_taken_is_a_new_version(experiment: Experiment) -> None:
    path = write(experiment.source / "s/scan.dat", b"first")
    daq = experiment.start()
    experiment.wait_catalogued(daq, "s/scan.dat")
    os.utime(path, ns=(1, 1))
    wait_for(lambda: experiment.files(daq)["s/scan.dat"].mtime_ns == 1, message="the new time")
    path.write_bytes(b"second, longer")
    experiment.wait_version(daq, "s/scan.dat", 2)
    path.write_bytes(b"third")
    experiment.wait_version(daq, "s/scan.dat", 3)
    ended = experiment.stop(daq)
    assert experiment.stored() == {
        "s/scan.dat": b"first", "s/scan.v2.dat": b"second, longer", "s/scan.v3.dat": b"third",
    }  # fmt: skip
    assert (ended.counts.catalogued, len(experiment.files(daq))) == (3, 1)
    assert [file.version for file in experiment.store.files(daq.id, versions=True)] == [1, 2, 3]
    assert experiment.in_runs() == dict.fromkeys(experiment.stored(), 1)
    told = "is version 2: it was changed, or another file lies there"
    assert ("s/scan.dat", told) in experiment.notices(daq)


@pytest.mark.parametrize("hashed", [True, False])
def test_a_file_that_was_only_touched_is_nothing_new(experiment: Experiment, hashed: bool) -> None:
    path = write(experiment.source / "scan.dat", b"content")
    daq = experiment.start(skip_checksum=not hashed)
    experiment.wait_catalogued(daq, "scan.dat")
    os.utime(path, ns=(1, 5_000_000_000))
    wait_for(lambda: experiment.files(daq)["scan.dat"].mtime_ns == 5_000_000_000, message="the new time")
    assert experiment.stop(daq).counts.catalogued == 1
    assert experiment.stored() == {"scan.dat": b"content"}
    assert experiment.in_runs() == {"scan.dat": 1}


def test_two_daqs_that_bring_different_files_of_one_name(experiment: Experiment, tmp_path: Path) -> None:
    """Neither overwrites the other's, and the same content is there once."""
    other = tmp_path / "other"
    write(experiment.source / "x.dat", b"mine")
    write(experiment.source / "same.dat", b"same")
    write(other / "x.dat", b"somebody's")
    write(other / "same.dat", b"same")
    daqs = [experiment.start(), experiment.start(source=other)]
    for daq in daqs:
        experiment.wait_catalogued(daq, "x.dat", "same.dat")
        experiment.stop(daq)
    assert sorted(experiment.stored()) == ["same.dat", "x.dat", "x.v2.dat"]
    assert {experiment.stored()["x.dat"], experiment.stored()["x.v2.dat"]} == {b"mine", b"somebody's"}
    assert experiment.in_runs() == dict.fromkeys(experiment.stored(), 1)


def test_the_same_files_from_two_folders_at_once_are_there_once(
    experiment: Experiment, tmp_path: Path
) -> None:
    names = [f"{number % 3}/{number}.dat" for number in range(200)]
    for name in names:
        for folder in (experiment.source, tmp_path):
            os.utime(write(folder / name, name.encode()), ns=(1, 1))
    uploads = [experiment.start(Kind.UPLOAD), experiment.start(Kind.UPLOAD, tmp_path)]
    ends = [experiment.ended(upload) for upload in uploads]
    assert [(end.state, end.counts.catalogued) for end in ends] == [(DaqState.DONE, 200)] * 2
    experiment.check(*uploads)


def test_a_second_daq_of_the_same_folder_is_refused(experiment: Experiment) -> None:
    daq = experiment.start()
    with pytest.raises(DaqError, match=f"daq {daq.id} takes it for {experiment.name} already; stop that one"):
        experiment.start()
    experiment.stop(daq)
    experiment.stop(experiment.start())


def test_an_hdf5_file_waits_until_it_is_closed_and_tells_so(experiment: Experiment) -> None:
    path = experiment.source / "scan.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["data"] = range(10)
        file.flush()
        daq = experiment.start()
        told = "it is open for writing, or was not closed"
        wait_for(lambda: experiment.reason(daq, "scan.h5") == told, message="the reason")
        assert experiment.states(daq) == {"scan.h5": "waiting"}
    experiment.wait_catalogued(daq, "scan.h5")
    assert experiment.reason(daq, "scan.h5") == ""
    experiment.stop(daq)
    experiment.check(daq)


def test_a_file_that_is_never_closed_is_given_up_after_a_stop(experiment: Experiment) -> None:
    write(experiment.source / "torn.h5", b"\x89HDF")
    write(experiment.source / "good.dat")
    daq = experiment.start()
    wait_for(lambda: experiment.reason(daq, "torn.h5"), message="the reason")
    ended = experiment.stop(daq)
    assert (ended.state, ended.reason) == (DaqState.FAILED, "1 could not be taken")
    reason = "was still being written when the DAQ was stopped: it has no HDF5 signature"
    assert experiment.reason(daq, "torn.h5") == reason
    experiment.check(daq)


def test_files_that_stay_where_they_are(experiment: Experiment) -> None:
    write(experiment.data / "in/a.dat", b"a")
    daq = experiment.start(source=experiment.data / "in", skip_transfer=True)
    experiment.wait_catalogued(daq, "a.dat")
    write(experiment.data / "in/b.dat", b"bb")
    experiment.wait_catalogued(daq, "b.dat")
    experiment.stop(daq)
    assert experiment.stored() == {"in/a.dat": b"a", "in/b.dat": b"bb"}
    experiment.check(daq)


def test_without_hashes(experiment: Experiment) -> None:
    write(experiment.source / "a.dat", b"a")
    upload = experiment.upload(skip_checksum=True)
    assert experiment.files(upload)["a.dat"].sha256 is None
    experiment.check(upload)
    (run,) = experiment.runs()
    assert [doc.get("files") for name, doc in run.documents() if name == "stream_datum"] == [None]


@pytest.mark.parametrize("catalogue", [True, False])
@pytest.mark.parametrize("archive", [True, False])
def test_without_catalogue_or_archive(experiment: Experiment, catalogue: bool, archive: bool) -> None:
    write(experiment.source / "a.dat", b"a")
    upload = experiment.upload(skip_catalogue=not catalogue, skip_archive=not archive)
    assert (upload.state, experiment.states(upload)) == (DaqState.DONE, {"a.dat": "catalogued"})
    runs = experiment.runs()
    assert len(runs) == (catalogue or archive)
    for run in runs:
        assert run.delivered is not catalogue
        assert ("archive" in run.notes) is archive


def test_it_stops_by_itself_when_its_time_is_over(experiment: Experiment) -> None:
    write(experiment.source / "a.dat")
    daq = experiment.start(max_run_time_s=0.5)
    assert daq.stop_at == pytest.approx(daq.created + 0.5)
    assert experiment.ended(daq).state is DaqState.DONE
    assert ("", "stopped: its time is over") in experiment.notices(daq)
    experiment.check(daq)


def test_a_stopped_upload_takes_what_it_has_seen(experiment: Experiment) -> None:
    for number in range(50):
        write(experiment.source / f"{number}.dat")
    upload = experiment.start(Kind.UPLOAD)
    assert experiment.stop(upload).state is DaqState.DONE
    experiment.check(upload)


def test_what_cannot_be_asked_for(experiment: Experiment) -> None:
    with pytest.raises(DaqError, match="there is none of that id"):
        experiment.store.get("no such id")
    with pytest.raises(DaqError, match="is not there"):
        experiment.upload(experiment.source / "nothing")
