"""A database that goes away while jobs run: they go on when it comes back."""

from apsdm_bluesky.workflows.jobs import State
from tests.waiting import wait_for
from tests.workflows.jobs.samples import running, shell, workflow


def test_jobs_go_on_when_the_server_comes_back(tmp_path, postgres_server, caplog):
    gate = tmp_path / "gate"
    made = workflow(
        shell("one", f"until test -e {gate}; do sleep 0.05; done; echo 1 > a"), shell("two", "a=1")
    )
    with postgres_server.database() as url, running(tmp_path / "home", database=url) as bench:
        job = bench.submit(made)
        wait_for(lambda: list(bench.folder(job).glob(".attempts/*/work")), 30, "the first process")
        postgres_server.stop()
        try:
            gate.touch()
            wait_for(lambda: "goes on when it answers" in caplog.text, 30, "the agent's notice")
        finally:
            postgres_server.start()
        assert bench.ended(job).state is State.DONE
        assert [attempt.well for attempt in bench.store.attempts(job.id)] == [True, True]
