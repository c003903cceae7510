"""`apsdm up` on a state folder of its own, and the commands a person types."""

import json
import os
import signal
import subprocess
import sys

import pytest

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.tiled_config import connect, server_key

APSDM = [sys.executable, "-m", "apsdm_bluesky.cli"]


def apsdm(*arguments, home=None, check=True, env=None, timeout=240):
    """Run a command; its result with text output."""
    command = [*APSDM, *map(str, arguments), *(["--home", str(home)] if home else [])]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        timeout=timeout,
        check=False,
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


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

    def close(self):
        self.client.context.http_client.close()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 0
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture(scope="session")
def beamline(tmp_path_factory):
    running = Beamline(tmp_path_factory.mktemp("beamline") / "home")
    yield running
    running.close()


@pytest.fixture(scope="session")
def demo(beamline):
    """One demo run against the running beamline: its JSON."""
    return json.loads(apsdm("demo", "--json", "--seed", 4, home=beamline.home).stdout)
