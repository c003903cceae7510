"""A demo run, as the tutorial takes it, on a Tiled server of its own: others' runs would hide it in lists."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.daq.experiments import Files
from tests.daq.test_read_back import hdf5, tiff
from tests.servers import RunningServer


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRun:
    """The beamline of a demo run, and what the command told.

    Parameters
    ----------
    server
        Runs on the state folder.
    told
        The JSON object of `apsdm demo --json`.
    """

    server: RunningServer
    told: dict

    def run(self, *command, cwd, stdin=""):
        """A command on this beamline as its user types it; its output, both streams in one."""
        done = subprocess.run(
            command,
            cwd=cwd,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def environment(self):
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "APSDM_HOME": str(self.server.config.home),
            "RAW_UID": self.told["raw_uid"],
            "RESULT_UID": self.told["processed_uid"],
            "MPLBACKEND": "agg",
        }


@pytest.fixture(scope="session")
def demo(request, tmp_path_factory):
    server = RunningServer(tmp_path_factory.mktemp("docs"))
    request.config.add_cleanup(server.close)
    command = [
        sys.executable,
        "-m",
        "apsdm_bluesky.cli",
        "demo",
        "--json",
        "--home",
        server.config.home,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    bring_files(server)
    return DemoRun(server=server, told=json.loads(done.stdout))


def bring_files(server):
    """The experiment of the page about files."""
    files = Files(server.config, "sample-files")
    images = np.arange(3 * 64 * 64, dtype="u2").reshape(3, 64, 64)
    written = [files.write("scan.h5", hdf5(images)), files.write("notes/log.txt", b"all went well")]
    written += [files.write(f"scan_{number:04d}.tif", tiff(image)) for number, image in enumerate(images, 1)]
    files.deliver(server, *written)
