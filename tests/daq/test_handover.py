"""What was stored goes on as runs, and DAQs end."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from apsdm_bluesky.agent._deliver import OwnRuns
from apsdm_bluesky.daq import Daq, DaqFile, DaqState, FileState, Handover
from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.spool import Spool
from tests.daq.test_stores import Stores, change


class Desk:
    """Stores, a spool, and what hands on; jobs are noted."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.stores = Stores(folder, None)
        stack.callback(self.stores.close)
        self.spool = Spool(folder / "spool")
        self.runs = OwnRuns(self.spool, None, None)
        stack.callback(self.runs.close)
        self.jobs: list[tuple[str, str | None]] = []
        self.handover = Handover(
            self.stores.daqs,
            self.stores.work,
            self.stores.batches,
            beamline="test",
            collection="local",
            wait_s=0,
            put_run=self.runs.put,
            start_job=self.start_job,
        )
        self.root = folder / "exp"

    def start_job(self, daq: Daq, file: DaqFile | None, _: str | None) -> None:
        self.jobs.append((daq.id, None if file is None else file.name))

    def in_runs(self) -> list[str]:
        documents = [item for run in self.spool.runs() for item in run.documents()]
        return sorted(doc["parameters"]["name"] for name, doc in documents if name == "stream_resource")

    def state(self, daq: Daq) -> DaqState:
        return self.stores.daqs.get(daq.id).state


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with ExitStack() as stack:
        yield Desk(tmp_path, stack)


def test_a_daq_ends_when_all_is_handed_on_and_nothing_more_comes(desk: Desk) -> None:
    daq = desk.stores.start(workflow="w")
    desk.stores.store(daq, "a", "b")
    desk.handover.look()
    assert (desk.in_runs(), desk.state(daq)) == (["a", "b"], DaqState.RUNNING)
    desk.stores.store(daq, "c")
    desk.stores.work.set_drained(daq.id)
    desk.handover.look()
    desk.handover.look()
    assert (desk.in_runs(), desk.state(daq)) == (["a", "b", "c"], DaqState.DONE)
    assert desk.jobs == [(daq.id, "a"), (daq.id, "b"), (daq.id, "c")]
    assert desk.stores.daqs.get(daq.id).counts.catalogued == 3


def test_what_was_not_taken_is_told_at_the_end(desk: Desk) -> None:
    daq = desk.stores.start(workflow="w", each=False)
    desk.stores.add(daq, "a", "b", "c", "d")
    states = (FileState.FAILED, FileState.SKIPPED, FileState.VANISHED, FileState.FAILED)
    desk.stores.work.apply(daq.id, [change(name, state) for name, state in zip("abcd", states, strict=True)])
    desk.stores.work.set_drained(daq.id)
    desk.handover.look()
    ended = desk.stores.daqs.get(daq.id)
    assert ended.state is DaqState.FAILED
    assert ended.reason == "2 could not be taken, 1 vanished before they were taken, 1 were passed over"
    assert (desk.jobs, desk.spool.runs()) == ([(daq.id, None)], [])


def test_what_was_taken_before_a_cancel_is_handed_on_and_no_job_is_started_at_the_end(desk: Desk) -> None:
    daq = desk.stores.start(workflow="w", each=False)
    desk.stores.store(daq, "a")
    desk.stores.daqs.cancel(daq.id, actor="eva")
    desk.stores.work.set_drained(daq.id)
    desk.handover.look()
    assert (desk.in_runs(), desk.state(daq), desk.jobs) == (["a"], DaqState.ABORTED, [])


def test_a_run_that_cannot_be_made_holds_up_no_other_and_is_told_once(desk: Desk) -> None:
    bad, good = desk.stores.start(), desk.stores.start("other")
    desk.stores.store(bad, "x", path="/elsewhere/x")
    desk.stores.store(good, "y")
    for daq in (bad, good):
        desk.stores.work.set_drained(daq.id)
    desk.handover.look()
    desk.handover.look()
    assert (desk.state(bad), desk.state(good), desk.in_runs()) == (DaqState.RUNNING, DaqState.DONE, ["y"])
    told = [notice.text for notice in desk.stores.daqs.notices(bad.id)]
    assert told == [
        "started by eva",
        (
            "1 files cannot be catalogued and archived: /elsewhere/x: is not in the experiment's folder "
            f"{desk.root}; move it there"
        ),
    ]


def test_a_spool_that_cannot_be_written_is_tried_again(desk: Desk) -> None:
    daq = desk.stores.start()
    desk.stores.store(daq, "a")
    desk.stores.work.set_drained(daq.id)
    desk.spool.root.write_bytes(b"a file, where a folder should be")
    with pytest.raises(StorageError):
        desk.handover.look()
    assert desk.state(daq) is DaqState.RUNNING
    desk.spool.root.unlink()
    desk.handover.look()
    assert (desk.in_runs(), desk.state(daq)) == (["a"], DaqState.DONE)
