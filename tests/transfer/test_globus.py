"""Globus: the conformance suite against the stand-in."""

from pathlib import Path

import pytest

from apsdm_bluesky.testing import TransferConformance
from apsdm_bluesky.transfer import Globus
from tests.globus import mover


class TestConformance(TransferConformance):
    @pytest.fixture(autouse=True)
    def _process(self, globus):
        self.process = globus

    def make(self, folder: Path) -> Globus:
        return mover(self.process, folder)
