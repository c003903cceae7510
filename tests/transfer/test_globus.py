"""Globus: the conformance suite against the stand-in."""

import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from apsdm_bluesky.errors import FormatError, ServiceError
from apsdm_bluesky.testing import TransferConformance
from apsdm_bluesky.transfer import Globus
from tests.globus import mover, request


class TestConformance(TransferConformance):
    @pytest.fixture(autouse=True)
    def _process(self, globus):
        self.process = globus

    def make(self, folder: Path) -> Globus:
        return mover(self.process, folder)


def test_what_globus_is_told(globus, tmp_path):
    """Nothing on trust, no mail, a deadline, and a label that Globus takes and that names the submission."""
    transfer = mover(globus, tmp_path)
    source = tmp_path / "source"
    source.write_bytes(b"x")
    wanted = replace(request(transfer, source), label="run <é> " + "long " * 50)
    task_id = transfer.submit(wanted)
    task = next(task for task in globus.tasks() if task["task_id"] == task_id)
    transfer.close()
    assert len(task["label"]) <= 128
    assert task["label"].startswith("run - long")
    assert task["label"].endswith(wanted.submission_id)
    assert (task["verify_checksum"], task["fail_on_quota_errors"]) == (True, True)
    assert (task["skip_source_errors"], task["sync_level"]) == (False, 3)
    assert datetime.fromisoformat(task["deadline"]) - datetime.fromisoformat(
        task["request_time"]
    ) > timedelta(hours=47)
    (item,) = task["items"]
    assert re.fullmatch(rf"/{tmp_path.name}/a/file\.[0-9a-f]{{16}}\.part", item["destination_path"])


def test_no_files_are_no_request(globus, tmp_path):
    transfer = mover(globus, tmp_path)
    with pytest.raises(FormatError, match="no files"):
        transfer.submit(replace(request(transfer, tmp_path / "x"), items=()))


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
