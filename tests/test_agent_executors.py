"""What runs the processes of stages: a remote that cannot be used leaves nothing behind."""

import uuid

import pytest

from apsdm_bluesky.agent._executors import open_executors
from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ConfigError


def test_a_remote_that_cannot_be_used_leaves_no_process(tmp_path):
    names = ("endpoint", "client_id", "collection")
    remote = {"root": "/there", **{name: str(uuid.uuid4()) for name in names}}
    config = BeamlineConfig.model_validate({"home": tmp_path, "workflows": {"remotes": {"far": remote}}})
    with pytest.raises(ConfigError, match=r"far\.collection"):
        open_executors(config, lambda: None)
    assert not (config.folders.jobs / ".processes").exists(), "a warden was started, and nobody ends it"
