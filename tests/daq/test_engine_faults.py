"""What breaks while files are brought: processes, disks, folders, servers. Nothing is lost, or twice."""

import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apsdm_bluesky.daq import Daq, DaqState, Kind
from tests.daq.bench import Bench, Experiment, children, kill, porter_of
from tests.daq.trees import write
from tests.postgres import PostgresServer
from tests.waiting import wait_for

LARGE = 192 << 20
HUGE = 1 << 36


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def sparse(path: Path, size: int) -> Path:
    """A file that takes long to read, and no space."""
    write(path, b"")
    os.truncate(path, size)
    return path


def wait_half_copied(experiment: Experiment) -> None:
    def is_there() -> bool:
        return any(path.stat().st_size > 0 for path in (experiment.root / ".incoming").glob("*.part"))

    wait_for(is_there, message="a part of the file")


def wait_more_taken(experiment: Experiment, daq: Daq, before: int) -> None:
    wait_for(lambda: experiment.store.get(daq.id).counts.taken > before, message="a file more")


def many(experiment: Experiment, count: int = 400, *, size: int = 20_000) -> None:
    for number in range(count):
        write(experiment.source / f"{number % 5}/{number}.dat", os.urandom(size))


def test_agents_that_end_in_the_middle_go_on_where_they_were(bench: Bench) -> None:
    experiment, other = bench.experiment(), bench.experiment()
    many(experiment, 2000, size=1000)
    many(other, 100)
    rest = []
    upload, daq = experiment.start(Kind.UPLOAD), other.start()
    for number, how in enumerate((signal.SIGKILL, signal.SIGTERM)):
        with bench.agent() as agent:
            wait_more_taken(experiment, upload, experiment.store.get(upload.id).counts.taken)
            agent.send_signal(how)
            agent.wait(30)
        rest.append(2000 - experiment.store.get(upload.id).counts.taken)
        write(other.source / f"meanwhile-{number}.dat", b"written while nobody looked")
    with bench.agent():
        other.wait_catalogued(daq, "meanwhile-0.dat", "meanwhile-1.dat")
        ends = [experiment.ended(upload), other.stop(daq)]
    assert [end.state for end in ends] == [DaqState.DONE, DaqState.DONE]
    assert [end.counts.catalogued for end in ends] == [2000, 102]
    assert rest[0] > 0, "it was not killed in the middle"
    experiment.check(upload)
    other.check(daq)


def test_a_killed_porter_is_started_again(experiment: Experiment) -> None:
    many(experiment, 600)
    upload = experiment.start(Kind.UPLOAD)
    for _ in range(2):
        pid = wait_porter(experiment.bench)
        copying = children(pid)
        kill(pid)
        wait_for(lambda gone=(pid, *copying): not any(map(alive, gone)), message="the end of these")
    ended = experiment.ended(upload)
    assert (ended.state, ended.counts.catalogued) == (DaqState.DONE, 600)
    experiment.check(upload)


def wait_porter(bench: Bench) -> int:
    """With its processes that copy."""

    def is_there() -> bool:
        pid = porter_of(bench)
        return pid is not None and len(children(pid)) == 2

    wait_for(is_there, message="a porter with processes that copy")
    pid = porter_of(bench)
    assert pid is not None
    return pid


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_process_that_copies_begins_anew(experiment: Experiment) -> None:
    sparse(experiment.source / "large.dat", LARGE)
    many(experiment, 20)
    upload = experiment.start(Kind.UPLOAD)
    wait_half_copied(experiment)
    pid = wait_porter(experiment.bench)
    for copying in children(pid):
        kill(copying)
    wait_for(lambda: not alive(pid), message="the end of the porter")
    ended = experiment.ended(upload)
    assert "is gone (killed): all begin anew" in experiment.bench.log()
    assert (ended.state, ended.counts.catalogued) == (DaqState.DONE, 21)
    experiment.check(upload)


def test_what_is_cancelled_in_the_middle_of_a_large_file_leaves_nothing_of_it(experiment: Experiment) -> None:
    sparse(experiment.source / "huge.dat", HUGE)
    write(experiment.source / "a.dat")
    upload = experiment.start(Kind.UPLOAD)
    wait_half_copied(experiment)
    experiment.wait_catalogued(upload, "a.dat")
    experiment.store.cancel(upload.id, actor="eva")
    ended = experiment.ended(upload)
    assert (ended.state, ended.counts.skipped) == (DaqState.ABORTED, 1)
    assert experiment.reason(upload, "huge.dat") == "the DAQ was cancelled"
    assert experiment.notices(upload)[-1] == ("", "cancelled by eva")
    experiment.check(upload)
    again = experiment.start(include=("a.dat",))
    experiment.wait_catalogued(again, "a.dat")
    experiment.stop(again)


def test_what_is_cancelled_while_its_folder_is_gone_ends(experiment: Experiment) -> None:
    daq = experiment.start()
    write(experiment.source / "torn.h5", b"\x89HDF")
    wait_for(lambda: experiment.reason(daq, "torn.h5"), message="it waits")
    shutil.rmtree(experiment.source)
    experiment.wait_hindered(daq, "was moved or removed; it is tried again")
    experiment.store.cancel(daq.id, actor="eva")
    assert experiment.ended(daq).state is DaqState.ABORTED
    assert experiment.states(daq) == {"torn.h5": "skipped"}


def test_a_folder_that_is_removed_and_made_anew(experiment: Experiment) -> None:
    write(experiment.source / "before.dat")
    daq = experiment.start()
    experiment.wait_catalogued(daq, "before.dat")
    for number in range(2):
        shutil.rmtree(experiment.source)
        experiment.wait_hindered(daq, f"{experiment.source}: ")
        assert experiment.store.get(daq.id).state is DaqState.RUNNING
        write(experiment.source / f"after-{number}.dat")
        experiment.wait_catalogued(daq, f"after-{number}.dat")
        wait_for(lambda: experiment.store.get(daq.id).reason == "", message="nothing hinders it")
    ended = experiment.stop(daq)
    assert (ended.state, ended.counts.catalogued) == (DaqState.DONE, 3)
    experiment.check(daq)


def test_a_folder_that_is_gone_for_good_does_not_hold_up_a_stop(experiment: Experiment) -> None:
    write(experiment.source / "torn.h5", b"\x89HDF")
    write(experiment.source / "good.dat")
    daq = experiment.start()
    experiment.wait_catalogued(daq, "good.dat")
    wait_for(lambda: experiment.reason(daq, "torn.h5"), message="it waits")
    shutil.rmtree(experiment.source)
    experiment.wait_hindered(daq, "was moved or removed")
    ended = experiment.stop(daq)
    assert (ended.state, ended.reason) == (DaqState.FAILED, "1 could not be taken")
    assert experiment.reason(daq, "torn.h5") == "its folder was gone when the DAQ was stopped"
    experiment.check(daq)


def test_a_full_disk_is_told_and_it_goes_on_by_itself(experiment: Experiment) -> None:
    experiment.data.rmdir()
    with small_disk(experiment.root, "1m") as disk:
        experiment.data.mkdir()
        write(experiment.source / "large.dat", os.urandom(4 << 20))
        write(experiment.source / "small.dat")
        daq = experiment.start()
        experiment.wait_catalogued(daq, "small.dat")
        experiment.wait_hindered(daq, os.strerror(28))
        assert "it goes on by itself when that is mended" in experiment.store.get(daq.id).reason
        experiment.check_nothing_left()
        experiment.store.stop(daq.id, actor="eva")
        subprocess.run(["mount", "-o", "remount,size=32m", disk], check=True)
        ended = experiment.ended(daq)
        assert (ended.state, ended.reason, ended.counts.catalogued) == (DaqState.DONE, "", 2)
        experiment.check(daq)


def test_an_experiment_that_may_not_be_written_is_told(experiment: Experiment) -> None:
    write(experiment.source / "a.dat")
    experiment.root.chmod(0o500)
    daq = experiment.start()
    experiment.wait_hindered(daq, "Permission denied")
    experiment.root.chmod(0o755)
    experiment.wait_catalogued(daq, "a.dat")
    experiment.stop(daq)
    experiment.check(daq)


def test_a_full_disk_under_the_database_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "home/daq", "1m") as disk:
        bench = Bench(tmp_path)
        experiment = bench.experiment()
        with bench.agent() as agent:
            daq = experiment.start()
            write(experiment.source / "before.dat")
            experiment.wait_catalogued(daq, "before.dat")
            subprocess.run(["dd", "if=/dev/zero", f"of={disk}/filler"], stderr=subprocess.DEVNULL)
            many(experiment)
            wait_for(lambda: "full" in bench.log() or "space" in bench.log(), message="the trouble")
            (disk / "filler").unlink()
            subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
            wait_for(lambda: experiment.store.get(daq.id).counts.catalogued == 401, 60, "all of them")
            ended = experiment.stop(daq)
            assert agent.poll() is None
        assert ended.state is DaqState.DONE
        experiment.check(daq)
        bench.close()


def test_a_server_of_the_database_that_ends_and_comes_back(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    postgres_server.folder.chmod(0o755)  # the agent here is not root, who may go everywhere
    bench = Bench(tmp_path, database=postgres_url)
    experiment = bench.experiment()
    with bench.agent():
        daq = experiment.start()
        write(experiment.source / "before.dat")
        experiment.wait_catalogued(daq, "before.dat")
        postgres_server.kill()
        many(experiment, 100)
        wait_for(lambda: "daq goes on when it answers" in bench.log(), message="the trouble")
        postgres_server.start()
        wait_for(lambda: experiment.store.get(daq.id).counts.catalogued == 101, 60, "all of them")
        assert experiment.stop(daq).state is DaqState.DONE
    experiment.check(daq)
    bench.close()


def test_a_stop_takes_no_new_files_but_with_upload_on_exit_it_does(tmp_path: Path) -> None:
    """Nobody looks here but at the start: the folder is polled, and not for long."""
    bench = Bench(tmp_path, watch="poll", poll_s=3600)
    expected = {False: {"seen.dat"}, True: {"seen.dat", "new.dat"}}
    experiments = {option: bench.experiment() for option in expected}
    with bench.agent():
        daqs = {}
        for option, experiment in experiments.items():
            write(experiment.source / "seen.dat")
            daqs[option] = experiment.start(upload_on_exit=option)
        for option, experiment in experiments.items():
            experiment.wait_catalogued(daqs[option], "seen.dat")
            write(experiment.source / "new.dat")
            experiment.stop(daqs[option])
            assert set(experiment.stored()) == expected[option]
            experiment.check(daqs[option])
    bench.close()


def test_an_agent_that_was_down_ends_what_was_stopped_meanwhile(bench: Bench) -> None:
    experiment, other = bench.experiment(), bench.experiment()
    write(experiment.source / "a.dat")
    write(other.source / "a.dat")
    stopped, cancelled = experiment.start(), other.start()
    experiment.store.stop(stopped.id, actor="eva")
    other.store.cancel(cancelled.id, actor="eva")
    with bench.agent():
        assert experiment.ended(stopped).state is DaqState.DONE
        assert other.ended(cancelled).state is DaqState.ABORTED
    assert set(experiment.stored()) == {"a.dat"}
    assert other.stored() == {}


def test_two_state_folders_that_write_into_one_experiment_do_not_disturb_each_other(tmp_path: Path) -> None:
    benches = [Bench(tmp_path / name, root=tmp_path / "experiments") for name in ("one", "two")]
    experiments = [Experiment(bench, "shared") for bench in benches]
    for experiment in experiments:
        for number in range(40):
            write(experiment.source / f"{number}.dat", os.urandom(300_000))
    with benches[0].agent(), benches[1].agent():
        uploads = [experiment.start(Kind.UPLOAD) for experiment in experiments]
        ends = [each.ended(upload) for each, upload in zip(experiments, uploads, strict=True)]
    assert [(end.state, end.counts.catalogued) for end in ends] == [(DaqState.DONE, 40)] * 2
    paths = set()
    for experiment, upload in zip(experiments, uploads, strict=True):
        for name, file in experiment.files(upload).items():
            content = (experiment.source / name).read_bytes()
            assert (experiment.data / str(file.path)).read_bytes() == content
            assert file.sha256 == hashlib.sha256(content).hexdigest()
            paths.add(file.path)
    assert paths == set(experiments[0].stored())
    assert len(paths) == 80
    experiments[0].check_nothing_left()
    for bench in benches:
        bench.close()
