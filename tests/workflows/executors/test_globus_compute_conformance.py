"""What every executor must do, where the remote sees the folders of tasks."""

from pathlib import Path

import pytest

from apsdm_bluesky.testing import ExecutorConformance
from apsdm_bluesky.workflows.executors import GlobusCompute
from tests.workflows.executors.compute import executor


class TestGlobusCompute(ExecutorConformance):
    @pytest.fixture(autouse=True)
    def _globus(self, globus):
        self.globus = globus

    def make(self, folder: Path) -> GlobusCompute:
        return executor(self.globus, folder)
