import json

import numpy as np
import pytest

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
