import contextlib
import io
import json
import subprocess
import sys

import numpy as np
import pytest

from apsdm_bluesky.cli import _faults, app
from tests.cli.job_samples import Jobs
from tests.commands import beamline

__all__ = ["beamline"]


@pytest.fixture(scope="session")
def frames_file(tmp_path_factory):
    """Forty frames of 48 rows and 64 columns."""
    path = tmp_path_factory.mktemp("frames") / "frames.npy"
    np.save(path, np.random.default_rng(5).poisson(2.0, (40, 48, 64)).astype(np.uint16))
    return path


@pytest.fixture
def write_config(tmp_path):
    """Writes beamline.yml; JSON is YAML."""

    def write(**keys):
        path = tmp_path / "beamline.yml"
        path.write_text(json.dumps({"home": str(tmp_path / "home"), "server": {"port": 0}, **keys}))
        return path

    return write


@pytest.fixture
def here(monkeypatch):
    """As `tests.commands.apsdm`, in this process: much faster; nothing may need a terminal."""
    monkeypatch.setattr(_faults, "quiet", lambda: None)  # warnings stay errors

    def run(*arguments, home, check=True):
        words = [*map(str, arguments), "--home", str(home)]
        monkeypatch.setattr(sys, "argv", ["apsdm", *words])
        streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
        with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
            code = _faults.run(app)
        for stream in streams:
            stream.flush()
        texts = [stream.buffer.getvalue().decode("utf-8", "surrogateescape") for stream in streams]
        if check:
            assert code == 0, texts[1]
        return subprocess.CompletedProcess(words, code, *texts)

    return run


@pytest.fixture
def jobs(tmp_path):
    """Jobs in a state folder of their own."""
    found = Jobs(tmp_path / "home")
    yield found
    found.store.close()
