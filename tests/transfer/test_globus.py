"""Globus: the conformance suite against the stand-in."""

from pathlib import Path

import pytest

from apsdm_bluesky.errors import ServiceError
from apsdm_bluesky.testing import TransferConformance
from apsdm_bluesky.transfer import Globus

from .globus import mover


class TestConformance(TransferConformance):
    @pytest.fixture(autouse=True)
    def _process(self, globus):
        self.process = globus

    def make(self, folder: Path) -> Globus:
        return mover(self.process, folder)


def test_a_folder_of_more_than_a_page_is_listed_whole(globus, tmp_path):
    folder = globus.root("tape") / tmp_path.name / "many"
    (folder / ".hidden").mkdir(parents=True)
    names = [f"{number:04}" for number in range(2100)]
    for name in (*names, ".part", ".hidden/file"):
        (folder / name).touch()
    transfer = mover(globus, tmp_path)
    assert [file.path for file in transfer.list_files("many")] == [f"many/{name}" for name in names]
    transfer.close()


def test_a_listing_goes_on_only_where_globus_answers(globus, tmp_path):
    (globus.root("tape") / tmp_path.name / "folder").mkdir(parents=True)
    transfer = mover(globus, tmp_path)
    globus.fault("ls", status=503, times=2)
    with pytest.raises(ServiceError, match="tried again at"):
        list(transfer.list_files())
    transfer.close()
