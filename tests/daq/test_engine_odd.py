"""What detectors and people also leave in folders: told by name, and everything else is taken."""

import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apsdm_bluesky.daq import DaqState
from tests.daq.bench import Experiment
from tests.daq.trees import write
from tests.waiting import wait_for

UNREADABLE = 0o000


@contextmanager
def closing_fd(folder: Path) -> Iterator[int]:
    fd = os.open(folder, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_what_is_no_file_is_told_by_name(experiment: Experiment, tmp_path: Path) -> None:
    source = experiment.source
    secret = write(tmp_path / "secret", b"not of the experiment")
    write(source / "good.dat", b"good")
    (source / "in.dat").symlink_to("good.dat")
    (source / "out.dat").symlink_to(secret)
    (source / "nowhere.dat").symlink_to("nothing")
    (source / "folder").symlink_to(tmp_path)
    os.mkfifo(source / "pipe.dat")
    (source / os.fsdecode(b"caf\xe9.dat")).write_bytes(b"no UTF-8")
    (source / "line\nfeed.dat").write_bytes(b"a control character")
    with socket.socket(socket.AF_UNIX) as server, closing_fd(source) as fd:
        server.bind(f"/proc/self/fd/{fd}/socket.dat")  # a socket's path is short
    upload = experiment.upload()
    assert upload.state is DaqState.DONE
    assert upload.reason == "8 were passed over"
    reasons = {name: file.reason for name, file in experiment.files(upload).items()}
    assert reasons == {
        "good.dat": "",
        "in.dat": "a link to good.dat, which is not followed",
        "out.dat": f"a link to {secret}, which is not followed",
        "nowhere.dat": "a link to nothing, which is not followed",
        "folder": f"a link to {tmp_path}, which is not followed",
        "pipe.dat": "a named pipe",
        "caf\\xe9.dat": "its name is no UTF-8; rename it",
        "line\\nfeed.dat": "its name has control characters; rename it",
        "socket.dat": "a socket",
    }
    assert experiment.stored() == {"good.dat": b"good"}
    experiment.check(upload)


def test_a_file_that_cannot_be_read_fails_an_upload_and_the_others_are_taken(
    experiment: Experiment,
) -> None:
    write(experiment.source / "good.dat")
    write(experiment.source / "closed.dat").chmod(UNREADABLE)
    write(experiment.source / "closed/x.dat").parent.chmod(UNREADABLE)
    upload = experiment.upload()
    assert (upload.state, upload.reason) == (DaqState.FAILED, "2 could not be taken")
    assert experiment.reason(upload, "closed.dat") == "cannot be taken: Permission denied"
    assert experiment.reason(upload, "closed") == "cannot be read: Permission denied"
    assert experiment.stored() == {"good.dat": b"content"}
    experiment.check(upload)


def test_what_can_be_read_later_is_taken_then(experiment: Experiment) -> None:
    write(experiment.source / "closed.dat").chmod(UNREADABLE)
    write(experiment.source / "closed/x.dat").parent.chmod(UNREADABLE)
    daq = experiment.start()
    both = {"closed.dat": "failed", "closed": "failed"}
    wait_for(lambda: experiment.states(daq) == both, message="both failures")
    (experiment.source / "closed.dat").chmod(0o644)
    (experiment.source / "closed").chmod(0o755)
    experiment.wait_catalogued(daq, "closed.dat", "closed/x.dat")
    wait_for(lambda: "closed" not in experiment.states(daq), message="the folder is forgotten")
    ended = experiment.stop(daq)
    assert (ended.state, ended.reason, ended.counts.catalogued) == (DaqState.DONE, "", 2)
    experiment.check(daq)


def test_a_link_that_becomes_a_file_is_taken(experiment: Experiment) -> None:
    path = experiment.source / "x.dat"
    path.symlink_to("nothing")
    daq = experiment.start()
    wait_for(lambda: experiment.states(daq) == {"x.dat": "skipped"}, message="it is passed over")
    path.unlink()
    write(path, b"now a file")
    experiment.wait_catalogued(daq, "x.dat")
    experiment.stop(daq)
    experiment.check(daq)


def test_a_file_that_vanishes_before_it_is_taken_is_told_and_taken_when_it_comes_back(
    experiment: Experiment,
) -> None:
    path = write(experiment.source / "x.h5", b"\x89HDF")  # waits, as it is not whole
    daq = experiment.start()
    wait_for(lambda: experiment.reason(daq, "x.h5"), message="it waits")
    path.unlink()
    wait_for(lambda: experiment.states(daq) == {"x.h5": "vanished"}, message="it is gone")
    assert experiment.reason(daq, "x.h5") == "it was gone before it was taken"
    (experiment.source / "y.dat").write_bytes(b"renamed")
    (experiment.source / "y.dat").rename(experiment.source / "x.dat")
    experiment.wait_catalogued(daq, "x.dat")
    ended = experiment.stop(daq)
    assert (ended.state, ended.counts.vanished) == (DaqState.DONE, 1 + ("y.dat" in experiment.states(daq)))
    experiment.check(daq)


def test_a_file_that_is_written_slowly_is_taken_when_it_is_whole(experiment: Experiment) -> None:
    """Whoever writes it pauses for less than a file has to rest."""
    path = experiment.source / "slow.dat"
    daq = experiment.start()
    stop = threading.Event()

    def append() -> None:
        with path.open("ab") as file:
            while not stop.wait(0.02):
                file.write(os.urandom(1000))
                file.flush()

    writer = threading.Thread(target=append)
    writer.start()
    try:
        wait_for(lambda: experiment.states(daq) == {"slow.dat": "waiting"}, message="it waits")
        write(experiment.source / "other.dat")
        experiment.wait_catalogued(daq, "other.dat")
    finally:
        stop.set()
        writer.join()
    content = path.read_bytes()
    wait_for(lambda: experiment.files(daq)["slow.dat"].size == len(content), message="all of it")
    experiment.wait_catalogued(daq, "slow.dat")
    experiment.stop(daq)
    path_in_data = experiment.files(daq)["slow.dat"].path
    assert path_in_data is not None
    assert experiment.stored()[path_in_data] == content
    experiment.check(daq)


def test_a_writer_that_never_rests_does_not_hold_up_a_stop(experiment: Experiment) -> None:
    path = experiment.source / "endless.dat"
    write(experiment.source / "good.dat")
    daq = experiment.start()
    stop = threading.Event()

    def append() -> None:
        while not stop.wait(0.02):
            with path.open("ab") as file:
                file.write(b"more")

    writer = threading.Thread(target=append)
    writer.start()
    try:
        wait_for(lambda: experiment.states(daq).get("endless.dat") == "waiting", message="it waits")
        ended = experiment.stop(daq)
    finally:
        stop.set()
        writer.join()
    assert (ended.state, ended.reason) == (DaqState.FAILED, "1 could not be taken")
    assert experiment.reason(daq, "endless.dat") == "was still being written when the DAQ was stopped"
    experiment.check(daq)


def test_names_that_are_long_and_hostile(experiment: Experiment) -> None:
    names = [
        "é" * 127,
        "a b; $(touch owned).dat",
        "'\"\\.dat",
        "-rf",
        "~.dat",
        "x.v2.dat",
        "x.dat",
        "d/" * 60 + "f",
    ]
    for name in names:
        write(experiment.source / name, name.encode())
    (experiment.source / ("é" * 127)).write_bytes(b"1")
    daq = experiment.start()
    experiment.wait_catalogued(daq, *names)
    for name in ("é" * 127, "x.dat"):
        (experiment.source / name).write_bytes(b"changed")
        experiment.wait_version(daq, name, 3 if name == "x.dat" else 2)
    assert experiment.stop(daq).state is DaqState.DONE
    experiment.check(daq)
    assert experiment.stored()["x.v3.dat"] == b"changed"


def test_what_is_stored_can_be_read_by_others_and_is_no_program(experiment: Experiment) -> None:
    write(experiment.source / "x.sh").chmod(0o4755)
    upload = experiment.upload()
    mode = (experiment.data / "x.sh").stat().st_mode
    assert not mode & (stat.S_IXUSR | stat.S_ISUID)
    experiment.check(upload)
