import subprocess
from pathlib import Path

import pytest

from apsdm_bluesky.errors import ApsdmError, ServiceError, StorageError
from apsdm_bluesky.sim.globus import GlobusProcess
from apsdm_bluesky.workflows.executors import Blame, Ended, Lost, Running, Waiting, log_in_compute
from tests.waiting import wait_for
from tests.workflows.executors.compute import (
    config_of,
    counting,
    effects,
    end_of,
    executor,
    looked,
    shell,
    started,
)


@pytest.fixture
def compute(globus, tmp_path):
    globus.forget_calls()
    globus.compute_endpoint()
    found = executor(globus, tmp_path)
    yield found
    found.close()
    globus.compute_endpoint()


def of_task(globus, task) -> list[dict]:
    """The calls that were submitted for a task."""
    return [call for call in globus.calls() if task.id in call["payload"]]


def test_a_task_runs_and_its_files_come(compute, tmp_path):
    task = shell(
        tmp_path, "echo $WORD; echo no >&2; mkdir d; echo x > d/f; exit 3", environment={"WORD": "yes"}
    )
    assert compute.look(task) is None
    compute.start(task)
    end = end_of(compute, task)
    assert (end.status, end.blame) == (3, Blame.COMMAND)
    assert end.reason == "no (exit status 3)"
    assert end.started < end.ended
    assert task.stdout.read_text() == "yes\n"
    assert task.stderr.read_text() == "no\n"
    assert (task.work / "d/f").read_text() == "x\n"
    assert not (task.folder / ".fetch").exists()
    compute.start(task)
    assert compute.look(task) == end


def test_a_lost_reply_makes_one_call(globus, compute, tmp_path):
    globus.fault("compute_submit", drop_reply=True, times=2)  # the SDK tries a second time by itself
    task = counting(tmp_path)
    started(compute, task)
    assert end_of(compute, task).status == 0
    assert len(globus.faults_hit("compute_submit")) == 2
    assert effects(tmp_path) == 1


def test_a_lost_request_is_made_up_for(globus, compute, tmp_path):
    globus.fault("compute_submit", drop_request=True, times=2)
    task = counting(tmp_path)
    started(compute, task)
    assert end_of(compute, task).status == 0
    assert len(of_task(globus, task)) == 1


def test_two_submissions_have_one_effect(globus, compute, tmp_path):
    """Two objects that know nothing of one another, as where the first one's record was lost."""
    task = counting(tmp_path)
    other = executor(globus, tmp_path)
    compute.start(task)
    (task.folder / "compute.json").unlink()
    other.start(task)
    assert end_of(other, task).status == 0
    assert len(of_task(globus, task)) == 2
    wait_for(lambda: all(call["status"] == "success" for call in of_task(globus, task)))
    assert effects(tmp_path) == 1
    other.close()


def test_a_second_submission_does_not_end_the_first(globus, compute, tmp_path):
    """It finds the command running, and so does who asks what became of it."""
    flag = tmp_path / "flag"
    task = shell(tmp_path, f"while ! test -e {flag}; do sleep 0.05; done", timeout_s=60)
    compute.start(task)
    wait_for((task.folder / "lock").exists)
    (task.folder / "compute.json").unlink()
    other = executor(globus, tmp_path)
    other.start(task)

    def settled() -> bool:
        assert not isinstance(looked(other, task), Ended)
        return [call["status"] for call in of_task(globus, task)] == ["running", "success", "success"]

    wait_for(settled)
    assert isinstance(looked(other, task), Running)
    flag.touch()
    assert end_of(other, task).status == 0
    other.close()


def test_a_restart_finds_it_again(globus, compute, tmp_path):
    flag = tmp_path / "flag"
    task = shell(tmp_path, f"echo begun; while ! test -e {flag}; do sleep 0.05; done", timeout_s=60)
    compute.start(task)
    wait_for(lambda: looked(compute, task) and task.stdout.exists() and task.stdout.read_text() == "begun\n")
    compute.close()
    other = executor(globus, tmp_path)
    other.start(task)
    report = looked(other, task)
    assert isinstance(report, Running)
    assert report.pid
    flag.touch()
    assert end_of(other, task).status == 0
    assert len(of_task(globus, task)) == 1
    other.close()


def test_what_compute_has_forgotten_files_tell(globus, compute, tmp_path):
    task = counting(tmp_path)
    compute.start(task)
    wait_for(lambda: (task.folder / "ended.json").exists())
    globus.forget_calls()
    assert end_of(compute, task).status == 0


def test_an_endpoint_that_is_offline_is_waited_for(globus, compute, tmp_path):
    globus.compute_endpoint(online=False)
    task = counting(tmp_path)
    compute.start(task)
    report = looked(compute, task)
    assert isinstance(report, Waiting)
    assert "offline" in report.reason
    globus.compute_endpoint()
    assert end_of(compute, task).status == 0


def test_changed_tells_what_goes_on(globus, compute, tmp_path):
    task = counting(tmp_path)
    compute.start(task)
    assert list(compute.changed()) == [task.id]
    end_of(compute, task)
    assert list(compute.changed()) == []


@pytest.mark.parametrize(
    ("trouble", "advice"),
    [
        ("unknown", "check 'endpoint'"),
        ("forbidden", "have its owner permit this login"),
        ("deleted", "check workflows.remotes.client_id"),
    ],
)
def test_what_a_person_must_mend_ends_it(globus, compute, tmp_path, trouble, advice):
    changes = {"endpoint": "0" * 8 + "-0000-0000-0000-" + "0" * 12} if trouble == "unknown" else {}
    globus.compute_endpoint(permitted=trouble != "forbidden")
    globus.delete_client(deleted=trouble == "deleted")
    other = executor(globus, tmp_path, **changes)
    task = counting(tmp_path)
    other.start(task)
    end = other.look(task)
    assert isinstance(end, Ended)
    assert (end.status, end.blame) == (None, Blame.NETWORK)
    assert advice in end.reason
    assert globus.client_secret not in end.reason
    other.close()


def test_a_user_without_a_login_is_told_to_log_in(globus, compute, tmp_path):
    other = executor(globus, tmp_path, login="user", client_id=globus.native_client_id, secret_file=None)
    task = counting(tmp_path)
    other.start(task)
    end = other.look(task)
    assert end.blame is Blame.NETWORK
    assert "'apsdm login'" in end.reason
    other.close()


def test_a_service_account_needs_no_login(globus, tmp_path):
    with pytest.raises(ApsdmError, match="logs in by itself"):
        log_in_compute(config_of(globus, tmp_path), folder=tmp_path / "compute")


def test_a_login_that_expires_meanwhile_ends_nothing(globus, compute, tmp_path):
    flag = tmp_path / "flag"
    task = shell(tmp_path, f"while ! test -e {flag}; do sleep 0.05; done", timeout_s=60)
    compute.start(task)
    wait_for(lambda: isinstance(looked(compute, task), Running))
    globus.delete_client()
    wait_for(lambda: "does not accept the login" in looked(compute, task).reason)
    globus.delete_client(deleted=False)
    flag.touch()
    assert end_of(compute, task).status == 0


@pytest.mark.parametrize("status", [401, 429, 503])
def test_what_passes_is_waited_for(globus, compute, tmp_path, status):
    task = counting(tmp_path)
    compute.start(task)
    globus.fault("compute_batch", status=status, times=2)
    assert end_of(compute, task).status == 0
    assert effects(tmp_path) == 1


def test_a_command_that_is_not_there(compute, tmp_path):
    task = shell(tmp_path, "", command=("/no/such/program",))
    compute.start(task)
    end = end_of(compute, task)
    assert (end.status, end.started, end.blame) == (None, None, Blame.COMMAND)
    assert "/no/such/program" in end.reason


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("how", ["stop", "timeout"])
def test_all_that_it_started_ends_with_it(compute, tmp_path, how):
    """A grandchild in a session of its own, whose parent is gone."""
    script = f"(setsid sleep 60 & echo $! > {tmp_path}/part; mv {tmp_path}/part {tmp_path}/pid); sleep 60"
    task = shell(tmp_path, script, timeout_s=0.5 if how == "timeout" else None)
    compute.start(task)
    wait_for((tmp_path / "pid").exists)
    if how == "stop":
        compute.stop(task)
        compute.stop(task)
    end = end_of(compute, task)
    assert end.status == -15
    assert end.blame is Blame.COMMAND
    assert not alive(int((tmp_path / "pid").read_text()))
    compute.stop(task)
    assert compute.look(task) == end


def test_what_is_stopped_before_it_runs_never_runs(globus, compute, tmp_path):
    """Its submission was lost, or is late: what comes after the stop finds the right to run taken."""
    globus.fault("compute_submit", drop_request=True, times=2)
    task = counting(tmp_path)
    with pytest.raises(ServiceError, match="does not answer"):
        compute.start(task)
    compute.stop(task)
    end = end_of(compute, task)
    assert (end.status, end.started) == (None, None)
    assert end.reason == "stopped on request"
    (task.folder / "compute.json").unlink()
    (task.folder / "report.json").unlink()
    compute.start(task)
    assert end_of(compute, task) == end
    assert not (tmp_path / "effects").exists()


def test_a_wish_to_stop_outlives_the_network(globus, compute, tmp_path):
    task = shell(tmp_path, "sleep 60")
    compute.start(task)
    wait_for(lambda: isinstance(looked(compute, task), Running))
    globus.fault("compute_submit", drop_request=True, times=2)
    compute.stop(task)
    assert len(globus.faults_hit("compute_submit")) == 2
    assert end_of(compute, task).status == -15


def test_a_worker_that_dies_takes_the_command_with_it(globus, compute, tmp_path):
    """As at the end of a batch job: the command ends, and says so itself."""
    task = shell(tmp_path, f"echo $$ > {tmp_path}/part; mv {tmp_path}/part {tmp_path}/pid; sleep 60")
    compute.start(task)
    wait_for((tmp_path / "pid").exists)
    subprocess.run(["kill", "-9", str(of_task(globus, task)[0]["pid"])], check=True)
    end = end_of(compute, task)
    assert isinstance(end, Lost)
    assert "worker ended" in end.reason
    assert not alive(int((tmp_path / "pid").read_text()))


def test_a_machine_that_dies_loses_it(globus, compute, tmp_path):
    """Worker and watcher are killed at once: nobody writes how it ended, and nobody runs it anew."""
    task = shell(
        tmp_path, f"echo $PPID $$ > {tmp_path}/part; mv {tmp_path}/part {tmp_path}/pids; exec sleep 60"
    )
    compute.start(task)
    wait_for((tmp_path / "pids").exists)
    watcher, command = (tmp_path / "pids").read_text().split()
    worker = str(of_task(globus, task)[0]["pid"])
    subprocess.run(["kill", "-STOP", watcher], check=True)  # so that the death of the worker is not noticed
    subprocess.run(["kill", "-9", worker, watcher, command], check=True)
    end = end_of(compute, task)
    assert isinstance(end, Lost)
    assert "without a word" in end.reason


def test_an_endpoint_that_runs_nothing(globus, compute, tmp_path):
    other = executor(globus, tmp_path, python="/no/such/python")
    task = counting(tmp_path)
    other.start(task)
    end = end_of(other, task)
    assert (end.status, end.blame) == (None, Blame.SYSTEM)
    assert "/no/such/python" in end.reason
    other.close()


def test_a_refusal_while_it_is_settled_is_told(globus, compute, tmp_path):
    other = executor(globus, tmp_path, python="/no/such/python")
    task = counting(tmp_path)
    other.start(task)
    globus.fault("compute_submit", status=403, times=1000)
    wait_for(lambda: "have its owner permit" in looked(other, task).reason)
    globus.clear_faults()
    assert isinstance(end_of(other, task), Ended)
    other.close()


def test_a_command_that_writes_its_own_report_is_lost_when_it_is_over(compute, tmp_path):
    flag = tmp_path / "flag"
    script = f"echo '{{}}' > ../ended.json; touch there; while ! test -e {flag}; do sleep 0.05; done"
    task = shell(tmp_path, script, timeout_s=60)
    compute.start(task)
    wait_for((task.work / "there").exists)
    assert isinstance(looked(compute, task), Running)
    flag.touch()
    end = end_of(compute, task)
    assert isinstance(end, Lost)
    assert "report is damaged" in end.reason


@pytest.mark.parametrize("text", ["{}", "[1]", '{"time": "x", "host": 1, "pid": []}', ""])
def test_rubbish_in_place_of_the_lock(globus, compute, tmp_path, text):
    globus.compute_endpoint(online=False)
    task = counting(tmp_path)
    compute.start(task)
    (task.folder / "lock").write_text(text)
    assert isinstance(looked(compute, task), Waiting)


def test_the_service_is_restarted_while_it_runs(tmp_path, monkeypatch):
    process = GlobusProcess(tmp_path / "globus")
    with process:
        for name, value in process.environment.items():
            monkeypatch.setenv(name, value)
        compute = executor(process, tmp_path)
        flag = tmp_path / "flag"
        task = shell(
            tmp_path,
            f"echo once >> {tmp_path}/effects; while ! test -e {flag}; do sleep 0.05; done",
            timeout_s=60,
        )
        compute.start(task)
        wait_for((tmp_path / "effects").exists)
        process.kill()
        process.start()
        assert isinstance(looked(compute, task), Running)
        flag.touch()
        assert end_of(compute, task).status == 0
        wait_for(lambda: [call["status"] for call in process.calls()] == ["success"])
        assert effects(tmp_path) == 1
        compute.close()


def test_a_function_is_registered_once(globus, compute, tmp_path):
    other = executor(globus, tmp_path, endpoint_config={"queue": "debug"})
    tasks = [counting(tmp_path), counting(tmp_path)]
    for each, task in zip((compute, other), tasks, strict=True):
        each.start(task)
        assert end_of(each, task).status == 0
    first, second = (of_task(globus, task)[0] for task in tasks)
    assert first["function"] == second["function"]
    assert (first["config"], second["config"]) == (None, {"queue": "debug"})
    other.close()


def test_a_function_that_somebody_removed_is_registered_anew(globus, compute, tmp_path):
    first, second, third = (counting(tmp_path) for _ in range(3))
    compute.start(first)
    assert end_of(compute, first).status == 0
    globus.forget_functions()
    compute.start(second)
    assert "check 'endpoint' and 'function'" in compute.look(second).reason
    compute.start(third)
    assert end_of(compute, third).status == 0


def test_a_refusal_after_a_lost_reply_is_no_end(globus, compute, tmp_path):
    """The first submission arrived: what it began goes on."""
    globus.fault("compute_submit", drop_reply=True, times=2)
    task = counting(tmp_path)
    with pytest.raises(ServiceError, match="does not answer"):
        compute.start(task)
    other = executor(globus, tmp_path)
    globus.fault("compute_group", status=403)
    with pytest.raises(ServiceError, match="have its owner permit"):
        other.start(task)
    assert end_of(other, task).status == 0
    assert effects(tmp_path) == 1
    other.close()


def test_a_damaged_record_is_told(compute, tmp_path):
    task = counting(tmp_path)
    compute.start(task)
    end_of(compute, task)
    for name in ("report.json", "compute.json"):
        (task.folder / name).write_text("{}")
    with pytest.raises(StorageError, match=r"compute\.json: is damaged"):
        compute.look(task)
