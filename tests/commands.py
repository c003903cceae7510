"""The commands a person types, and a running `apsdm up`.

However many conftest.py files import the fixture `beamline`, a test session starts one.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.tiled_config import connect, server_key
from tests.waiting import wait_for

APSDM = [sys.executable, "-m", "apsdm_bluesky.cli"]
_SHARED: pytest.StashKey["Beamline"] = pytest.StashKey()


def command(*arguments, home=None):
    return [*APSDM, *map(str, arguments), *(["--home", str(home)] if home else [])]


def apsdm(*arguments, home=None, check=True, env=None, timeout=240, **options):
    """Run a command; its result with text output."""
    done = subprocess.run(
        command(*arguments, home=home),
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        timeout=timeout,
        check=False,
        **options,
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


@contextlib.contextmanager
def started(*arguments, home=None, **options):
    """A command in the background; killed at the end where it has not ended."""
    process = subprocess.Popen(
        command(*arguments, home=home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )
    try:
        with process:
            yield process
            process.kill()
    finally:
        process.kill()


def told(done):
    """The one line that a fault is told in."""
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().split("\n")
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("apsdm: "), done.stderr
    return lines[0].removeprefix("apsdm: ")


def children(pid):
    """The processes that a process has started: pid, and the module that runs there."""
    found = {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            stat = (folder / "stat").read_text()
            if int(stat.rpartition(")")[2].split()[1]) == pid:
                arguments = (folder / "cmdline").read_bytes().decode().split("\0")
                found[int(folder.name)] = arguments[2] if arguments[1] == "-m" else arguments[0]
    return found


def pid_of(processes, module):
    (pid,) = [pid for pid, name in processes.items() if name == module]
    return pid


def alive(pid):
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def all_gone(pids, timeout=20):
    wait_for(lambda: not any(alive(pid) for pid in pids), timeout, f"the end of {list(pids)}")


class Beamline:
    """A running `apsdm up`."""

    def __init__(self, home):
        self.home = home
        config = home.parent / "beamline.yml"
        config.write_text(f"home: {home}\nserver:\n  port: 0\n")
        self.config_file = config
        self.process = subprocess.Popen(
            [*APSDM, "up", "--config", str(config), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.uri = json.loads(line)["tiled_uri"]
        self.config = BeamlineConfig(home=home, server={"port": 0})
        self.key = server_key(self.config)
        self.client = connect(self.uri, self.key)

    def stop_document(self, uid):
        """The stop document of a run in the catalogue; None while there is none."""
        try:
            return self.client["raw"][uid].metadata.get("stop")
        except KeyError:  # not yet, or removed to be delivered again as a whole
            return None

    def close(self):
        self.client.context.http_client.close()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0
        assert self.process.stderr.read() == ""
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture(scope="session")
def beamline(request, tmp_path_factory):
    """The session's `apsdm up`. Do not harm this one."""
    stash = request.config.stash
    if _SHARED not in stash:
        stash[_SHARED] = running = Beamline(tmp_path_factory.mktemp("beamline") / "home")
        request.config.add_cleanup(running.close)
    return stash[_SHARED]
