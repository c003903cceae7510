"""`apsdm job logs`: output as it is, as it grows, and as a terminal may be shown it."""

import dataclasses
import os
import pty
import subprocess
import time

import pytest

from apsdm_bluesky.workflows.jobs import OutputFile
from tests.commands import command, started, told

HOSTILE = b"red \x1b[31m\x1b]0;title\x07 \x9b \xe2\x80\xae e\xcc\x81 caf\xc3\xa9 50%\r\x00\ttab\n"


@pytest.fixture
def logs(here, jobs):
    """Runs `apsdm job logs`."""
    return lambda *words, **options: here("job", "logs", *words, home=jobs.home, **options)


def running(jobs, **files):
    """A job whose first stage runs, and its process."""
    job = jobs.begin(jobs.start())
    process = jobs.process(job, **files)
    return jobs.enter(job, process), process


def test_the_stage_that_failed_and_others(logs, jobs):
    failed = jobs.failed()
    assert logs(failed.id[:8]).stdout == "first\ncat: /x: \x1b[31mNo such file\n"
    assert logs(failed.id, "sum").stdout == "/x\n"
    both = logs(failed.id, "--all").stdout
    assert both == "/x\n==> note, process 1: stderr <==\nfirst\ncat: /x: \x1b[31mNo such file\n"
    assert logs(failed.id, "--all", "--stderr").stdout == both[both.index("first") :]


def test_what_has_printed_nothing_is_told(logs, jobs):
    job = jobs.start()
    done = logs(job.id)
    assert done.stdout == ""
    assert told(done) == f"job {job.id} is pending: stage 'sum' has printed nothing"


def test_a_stage_that_is_none_or_not_its_own(logs, jobs):
    failed = jobs.failed()
    assert "stage 'x' is not in it: it has sum, note" in told(logs(failed.id, "x", check=False))
    assert logs(failed.id, "sum", "--all", check=False).returncode == 2
    again = jobs.store.resubmit(failed, jobs.workflow, first="note", owner="ann")
    assert f"job {failed.id} ran stage 'sum'" in told(logs(again.id, "sum", check=False))


def test_bytes_reach_a_pipe_as_they_are(logs, jobs):
    job, _ = running(jobs, stdout=HOSTILE)
    assert logs(job.id).stdout.encode("utf-8", "surrogateescape") == HOSTILE


def test_a_terminal_is_not_steered(jobs):
    job, _ = running(jobs, stdout=HOSTILE, stderr=b"no end of line")
    master, slave = pty.openpty()
    process = subprocess.Popen(command("job", "logs", job.id, home=jobs.home), stdout=slave)
    os.close(slave)
    shown = b""
    try:
        while data := os.read(master, 4096):
            shown += data
    except OSError:  # Linux: the other side is closed
        pass
    finally:
        os.close(master)
        assert process.wait(60) == 0
    assert shown.decode().replace("\r\n", "\n") == (
        "==> sum, process 1: stdout <==\n"
        "red ^[[31m^[]0;title^G \ufffd \\u202e e\u0301 café 50%^M^@\ttab\n"
        "==> sum, process 1: stderr <==\nno end of line"
    )


def test_a_file_of_any_size_is_read_in_pieces(tmp_path):
    path = tmp_path / "stdout"
    with path.open("wb") as file:
        file.truncate(10_000_000)
    output = OutputFile(path, "")
    sizes = [len(data) for data in output.news()]
    assert sum(sizes) == 10_000_000
    assert max(sizes) <= 2**16
    assert list(output.news()) == []


@pytest.mark.parametrize(
    "make", [lambda path: path.symlink_to("/etc/passwd"), os.mkfifo], ids=["link", "pipe"]
)
def test_what_a_process_puts_in_place_of_its_output_is_not_followed(logs, jobs, make):
    job, process = running(jobs)
    path = jobs.store.folder(job.id) / process.folder / "stdout"
    path.unlink()
    make(path)
    done = logs(job.id, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{path}: " in told(done)
    assert "it is not shown" in told(done)


def test_files_that_are_elsewhere_are_told(logs, jobs):
    job = jobs.failed()
    jobs.store.folder(job.id).rename(jobs.home / "gone")
    assert f"'apsdm job show {job.id[:8]}' has the last lines" in told(logs(job.id, check=False))


def test_output_is_followed_across_processes_and_stages_to_the_end(jobs):
    job, first = running(jobs, stdout=b"one\n")
    with started("job", "logs", job.id, "--follow", home=jobs.home) as following:
        assert following.stdout.readline() == "one\n"
        jobs.write(job, first.folder, stdout=b"two\n")
        assert following.stdout.readline() == "two\n"
        job = jobs.pass_stage(job, ended(first), found="abc")
        second = jobs.process(job, stderr=b"warned")
        job = jobs.enter(job, second)
        assert following.stdout.readline() == "==> note, process 1: stderr <==\n"
        jobs.write(job, second.folder, stderr=b" at last\n")
        jobs.pass_stage(job, ended(second))
        assert following.stdout.read() == "warned at last\n"
        assert following.wait(60) == 0
        assert "jobs wait until" in following.stderr.read()


def test_one_stage_is_followed_to_its_end(logs, jobs):
    job, first = running(jobs, stdout=b"one\n")
    jobs.pass_stage(job, ended(first), found="abc")
    assert logs(job.id, "sum", "-f").stdout == "one\n"


def ended(process):
    return dataclasses.replace(process, ended=time.time(), status=0)
