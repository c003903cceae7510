"""Agents on one PostgreSQL database: killed, beside each other, and with a server that comes and goes."""

import hashlib
import logging
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest

from apsdm_bluesky.agent import Agent, agent_process
from apsdm_bluesky.archive import Ledger, RunEntry, State
from apsdm_bluesky.archive import _events as events
from apsdm_bluesky.errors import ConfigError, ServiceError
from tests.archive.samples import SampleBeamline
from tests.postgres import PostgresServer
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
SECRET = "hunter2"


class Station:
    """A state folder with its spool, whose agents share `url` and the destination `tape` with others."""

    def __init__(self, home: Path, url: str, tape: Path) -> None:
        self.sample = SampleBeamline(home, database=url, destination=tape)
        self.config = self.sample.config
        self.ledger = Ledger(self.config.folders.archive, url)

    def states(self) -> dict[str, State]:
        return {entry.uid: entry.state for entry in self.ledger.runs.list()}

    def transitions(self) -> int:
        return sum(len(self.ledger.history(record.uid)) for record in self.ledger.list())

    def close(self) -> None:
        self.ledger.close()
        self.sample.session.close()


@pytest.fixture
def stations(tmp_path, postgres_url):
    made = [Station(tmp_path / name, postgres_url, tmp_path / "tape") for name in ("one", "two")]
    yield made
    for station in made:
        station.close()


def verified(station, *uids) -> bool:
    states = station.states()
    return all(states.get(uid) is State.VERIFIED for uid in uids)


def tars(tape: Path) -> list[str]:
    return sorted(path.name for path in tape.rglob("*.tar"))


def check_each_once(station, tape, uids) -> None:
    """Each run has one bundle, which stands at the destination with the ledger's content."""
    assert tars(tape) == sorted(f"{uid}.tar" for uid in uids)
    for uid in uids:
        (record,) = station.ledger.bundles_of(uid)
        assert record.state is State.VERIFIED
        assert hashlib.sha256((tape / record.destination).read_bytes()).hexdigest() == record.sha256
        told = [entry.event for entry in station.ledger.history(uid)]
        assert (told.count("Requested"), told.count("Planned"), told.count("Bundled")) == (1, 1, 1)


def killed_again_and_again(station, uids, faults: list[BaseException]) -> None:
    """An agent that is killed with every third transition of its station, until all runs are verified."""
    try:
        while not verified(station, *uids):
            before = station.transitions()
            with agent_process(station.config) as process:
                wait_for(
                    lambda before=before: station.transitions() > before + 2 or verified(station, *uids),
                    60,
                    "the agent's work",
                )
                process.kill()
    except BaseException as error:
        faults.append(error)
        raise


def test_two_agents_killed_again_and_again_archive_each_run_once(stations, tmp_path):
    """Some runs come to both stations: the first one that enters them archives them."""
    mine = [[f"{name}{number}" for number in range(3)] for name in "ab"]
    shared = ["s0", "s1"]
    for station, own in zip(stations, mine, strict=True):
        for uid in (*own, *shared):
            station.sample.take(uid)
    everything = [*mine[0], *mine[1], *shared]
    faults: list[BaseException] = []
    threads = [
        threading.Thread(target=killed_again_and_again, args=(station, everything, faults))
        for station in stations
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    check_each_once(stations[0], tmp_path / "tape", everything)


def test_an_agent_drives_only_what_is_its_own(stations, tmp_path):
    one, two = stations
    one.sample.take("a")
    two.sample.take("b")
    with agent_process(one.config):
        wait_for(lambda: verified(one, "a"), 60, "run a")
    assert two.states() == {"a": State.VERIFIED}, "the other station's run is seen, and b is not offered yet"
    with agent_process(two.config):
        wait_for(lambda: verified(two, "b"), 60, "run b")
    assert [record.uid for record in one.ledger.list()] == ["a"]
    assert [record.uid for record in two.ledger.list()] == ["b"]


def test_processes_that_make_the_tables_at_once(tmp_path, postgres_server):
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from apsdm_bluesky.archive import Ledger, RunEntry\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "ledger = Ledger(Path(sys.argv[1]), sys.argv[2])\n"
        "print(ledger.runs.add(RunEntry(uid='a', collection='local'), actor='x'))\n"
    )
    with postgres_server.database() as url:
        command = [sys.executable, "-c", script, tmp_path / "archive", url]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
        processes = [subprocess.Popen(command, **pipes) for _ in range(3)]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=60)[0] for process in processes]
    assert sorted(answers) == ["False\n", "False\n", "True\n"]
    assert [process.returncode for process in processes] == [0, 0, 0]


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_the_agent_goes_on_when_the_server_comes_back(stations, tmp_path, postgres_server, how):
    station = stations[0]
    log = station.config.folders.logs / "agent.log"
    uids = [f"r{number}" for number in range(6)]
    with agent_process(station.config) as process:
        for uid in uids[:3]:
            station.sample.take(uid)
        wait_for(lambda: station.states(), 60, "work")
        getattr(postgres_server, how)()
        try:
            for uid in uids[3:]:
                station.sample.take(uid)
            wait_for(lambda: "postgresql+psycopg://apsdm@/" in log.read_text(), 60, "the agent's notice")
            assert process.poll() is None
        finally:
            postgres_server.start()
        wait_for(lambda: verified(station, *uids), 120, "all runs")
        assert process.poll() is None
    check_each_once(station, tmp_path / "tape", uids)
    assert "Traceback" not in log.read_text()


def test_a_ledger_goes_on_with_a_server_that_comes_back(postgres_server, postgres_url, tmp_path):
    ledger = Ledger(tmp_path, postgres_url)
    ledger.runs.add(RunEntry(uid="a", collection="local"), actor="x")
    postgres_server.kill()
    try:
        with pytest.raises(ServiceError, match="goes on when it answers"):
            ledger.list()
    finally:
        postgres_server.start()
    assert ledger.plan(["a"], actor="x") == ["a"]
    ledger.close()


def test_nobody_waits_for_ever_for_a_row_that_another_one_holds(postgres_url, tmp_path):
    """A process that was stopped in a transaction keeps its lock."""
    ledger = Ledger(tmp_path, f"{postgres_url}&options=-c%20lock_timeout%3D100")
    ledger.runs.add(RunEntry(uid="a", collection="local"), actor="x")
    ledger.plan(["a"], actor="x")
    plain = postgres_url.replace("+psycopg", "")
    with psycopg.connect(plain) as holder:
        holder.execute("SELECT * FROM records FOR UPDATE")
        with pytest.raises(ServiceError, match="lock timeout"):
            ledger.apply("a", events.Waiting(reason="x"), actor="x")
    assert ledger.apply("a", events.Waiting(reason="x"), actor="x").reason == "x"
    ledger.close()
    usual = Ledger(tmp_path, postgres_url)
    with usual.database.read() as connection:
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "30s"
    usual.close()


def test_a_dead_server_at_the_start_is_told_in_one_line(tmp_path):
    sample = SampleBeamline(tmp_path, database="postgresql+psycopg://me@127.0.0.1:1/archive")
    sample.session.close()
    expected = "did not start: .*me@127.0.0.1:1/archive: .*refused"
    with pytest.raises(ServiceError, match=expected) as told, agent_process(sample.config):
        pass
    assert "\n" not in str(told.value)
    assert "Traceback" not in (sample.folders.logs / "agent.log").read_text()


def test_a_missing_database_is_told(postgres_server, tmp_path):
    with pytest.raises(ServiceError, match='database "nowhere" does not exist') as told:
        Ledger(tmp_path, postgres_server.url("nowhere"))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://me:{SECRET}@host/archive",
        f"postgresql+psycopg://me:p@{SECRET}@host/archive",
        f"postgresql+psycopg://me@host/archive?password={SECRET}",
        f"postgresql+psycopg://me@host/archive?sslpassword={SECRET}",
        f"postgresql+psycopg://me:{SECRET}",
        f"postgresql://me:{SECRET}@host/archive",
        f"me:{SECRET}@host",
        f"sqlite:///{SECRET}",
        f"postgresql+{SECRET}://me@host/archive",
    ],
)
def test_a_url_that_is_refused_is_shown_nowhere(tmp_path, url, caplog):
    """Not in the error, not in its causes, not in a log."""
    caplog.set_level(logging.DEBUG)
    sample = SampleBeamline(tmp_path, database=url)
    sample.session.close()
    with pytest.raises(ConfigError, match=r"archive\.database: .*PGPASSFILE") as told:
        Agent(sample.config, uri=None, api_key=None).run(threading.Event())
    error: BaseException | None = told.value
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__
    with pytest.raises(ServiceError, match=r"archive\.database: ") as told, agent_process(sample.config):
        pass
    assert SECRET not in str(told.value)
    assert "\n" not in str(told.value)
    assert SECRET not in caplog.text
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in content for content in written)


def test_a_password_from_libpqs_own_places_is_shown_nowhere(tmp_path, postgres_server, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    postgres_server.do("DROP ROLE IF EXISTS guest")
    postgres_server.do("CREATE ROLE guest LOGIN")
    monkeypatch.setenv("PGPASSWORD", SECRET)
    with postgres_server.database() as url, pytest.raises(ServiceError, match="permission denied") as told:
        Ledger(tmp_path, url.replace("apsdm@", "guest@"))
    assert SECRET not in str(told.value)
    assert SECRET not in caplog.text


def test_the_fixture_leaves_nothing_behind():
    server = PostgresServer()
    folder = server.folder
    server.close()
    assert not folder.exists()
