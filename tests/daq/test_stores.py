"""The database of DAQs as their parts see it, in a file and on a server."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from apsdm_bluesky.daq import (
    BatchStore,
    Counts,
    Daq,
    DaqOptions,
    DaqState,
    DaqStore,
    FileState,
    Kind,
    NewDaq,
    WorkStore,
)
from apsdm_bluesky.daq._work import Change, Last
from apsdm_bluesky.errors import DaqError


class Stores:
    """All that work on one database, for one state folder."""

    def __init__(self, folder: Path, url: str | None) -> None:
        self.folder = folder
        (folder / "exp/data").mkdir(parents=True)
        self.daqs = DaqStore(folder / "daq", url)
        self.work = WorkStore(folder / "daq", url)
        self.batches = BatchStore(folder / "daq", url)

    def close(self) -> None:
        for store in (self.daqs, self.work, self.batches):
            store.close()

    def start(
        self, name: str = "source", kind: Kind = Kind.DAQ, *, most: int | None = None, **options: object
    ) -> Daq:
        source = self.folder / name
        source.mkdir(exist_ok=True)
        new = NewDaq(
            kind=kind,
            experiment="exp",
            station="test",
            source=source,
            root=self.folder / "exp",
            owner="eva",
            options=replace(DaqOptions(), **options),
        )
        return self.daqs.start(new, actor="eva", most=most)

    def add(self, daq: Daq, *names: str, **more: object) -> None:
        rows = [change(name, FileState.WAITING, **more) for name in names]
        self.work.add(daq.id, rows, {name: f"/exp/data/{name}" for name in names})

    def store(self, daq: Daq, *names: str, **more: object) -> None:
        self.add(daq, *names)
        self.work.apply(daq.id, [stored(name, **more) for name in names])

    def states(self, daq: Daq) -> dict[str, str]:
        return {file.name: file.state.value for file in self.daqs.files(daq.id)}


def change(name: str, state: FileState, **more: object) -> Change:
    return Change(**{"name": name, "state": state, "size": 5, "mtime_ns": 7, **more})


def stored(name: str, **more: object) -> Change:
    return change(name, FileState.STORED, **{"path": name, "sha256": "aa", **more})


@pytest.fixture(params=["file", "server"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    url = None if request.param == "file" else request.getfixturevalue("postgres_url")
    stores = Stores(tmp_path, url)
    yield stores
    stores.close()


def test_what_was_asked_for_is_kept(stores: Stores) -> None:
    options = {
        "include": ("*.h5",),
        "exclude": ("a/*", "b"),
        "hidden": True,
        "existing": False,
        "destination": "in é",
        "workflow": "w",
        "each": False,
        "arguments": {"n": 1, "x": "$filePath", "on": True},
        "max_run_time_s": 60.0,
    }
    before = time.time()
    daq = stores.start(**options)
    assert daq.options == DaqOptions(**options)
    assert before <= daq.created <= time.time()
    assert (daq.state, daq.ended, daq.stop_at, daq.counts) == (
        DaqState.RUNNING, None, daq.created + 60, Counts(),
    )  # fmt: skip
    assert stores.daqs.get(daq.id[:8]) == daq
    assert [notice.text for notice in stores.daqs.notices(daq.id)] == ["started by eva"]


def test_ids_that_are_none(stores: Stores) -> None:
    stores.start()
    stores.start("other")
    for uid, told in (
        ("x", "there is none"),
        ("", "there is none"),
        ("%", "there is none"),
        ("f" * 32, "none"),
    ):
        with pytest.raises(DaqError, match=told):
            stores.daqs.get(uid)


def test_lists_are_of_what_fits_the_latest_first(stores: Stores) -> None:
    one, two = stores.start(), stores.start("other", Kind.UPLOAD)
    assert [daq.id for daq in stores.daqs.list()] == [two.id, one.id]
    assert [daq.id for daq in stores.daqs.list(kind=Kind.DAQ)] == [one.id]
    assert [daq.id for daq in stores.daqs.list(limit=1)] == [two.id]
    assert stores.daqs.list(owner="nobody") == []
    assert stores.daqs.list(experiment="exp", states=[DaqState.DONE]) == []


def test_stop_and_cancel_change_only_what_has_not_ended(stores: Stores) -> None:
    daq = stores.start()
    assert stores.daqs.stop(daq.id, actor="eva").state is DaqState.STOPPING
    stores.daqs.stop(daq.id, actor="eva")
    assert stores.daqs.cancel(daq.id, actor="staff").state is DaqState.ABORTED
    ended = stores.daqs.cancel(daq.id, actor="staff")
    assert (ended.state, ended.ended is not None) == (DaqState.ABORTED, True)
    stores.work.end(daq.id, DaqState.DONE, "", Counts())
    assert stores.daqs.stop(daq.id, actor="eva") == ended
    told = [notice.text for notice in stores.daqs.notices(daq.id)]
    assert told == ["started by eva", "stopped by eva", "cancelled by staff"]


def test_a_time_that_is_over_stops_it_once(stores: Stores) -> None:
    due, other = stores.start(max_run_time_s=1e-9), stores.start("other", max_run_time_s=60.0)
    stores.work.stop_due()
    stores.work.stop_due()
    assert stores.daqs.get(due.id).state is DaqState.STOPPING
    assert stores.daqs.get(other.id).state is DaqState.RUNNING
    assert [notice.text for notice in stores.daqs.notices(due.id)] == [
        "started by eva",
        "stopped: its time is over",
    ]


def test_a_file_from_first_sight_to_the_catalogue(stores: Stores) -> None:
    daq = stores.start()
    stores.add(daq, "a", "b")
    assert stores.states(daq) == {"a": "waiting", "b": "waiting"}
    stores.work.explain(daq.id, [("a", "it is empty")])
    assert [file.reason for file in stores.daqs.files(daq.id)] == ["it is empty", ""]
    stores.work.apply(daq.id, [stored("a"), change("b", FileState.FAILED, reason="no")], [("b", "told")])
    stores.work.apply(daq.id, [change("a", FileState.FAILED, reason="late"), stored("b")])  # nothing waits
    assert stores.states(daq) == {"a": "stored", "b": "failed"}
    assert stores.daqs.get(daq.id).counts == Counts(stored=1, failed=1, bytes=5)
    known = stores.work.known(daq.id)
    assert known["a"].last == Last(1, "a", 5, 7, "aa", None, True)
    assert known["b"].last is None
    assert stores.daqs.notices(daq.id)[-1].text == "told"


def test_versions_count_and_the_latest_is_listed(stores: Stores) -> None:
    daq = stores.start()
    stores.store(daq, "a", "b")
    stores.add(daq, "a", version=2)
    assert stores.states(daq) == {"a": "waiting", "b": "stored"}
    assert stores.work.known(daq.id)["a"].last == Last(1, "a", 5, 7, "aa", None, True)
    stores.work.apply(daq.id, [stored("a", version=2, path="a.v2", sha256="bb")])
    assert stores.daqs.get(daq.id).counts == Counts(stored=3, bytes=15)
    assert [file.path for file in stores.daqs.files(daq.id)] == ["a.v2", "b"]
    assert [file.path for file in stores.daqs.files(daq.id, versions=True)] == ["a", "a.v2", "b"]
    assert stores.work.taken(["/exp/data/a", "/exp/data/x"]) == {
        "/exp/data/a": Last(2, "a.v2", 5, 7, "bb", None, False, 0, f"{daq.source}/a")
    }
    held = Last(1, "a", 5, 7, "aa", None, False, 0, f"{daq.source}/a")
    assert stores.work.holder("/exp/data/a", "a") == held
    assert stores.work.holder("/exp/data/a", "b") is None


def test_a_touch_renews_the_time_and_leaves_no_row(stores: Stores) -> None:
    daq = stores.start()
    stores.store(daq, "a")
    stores.add(daq, "a", version=2)
    stores.work.apply(daq.id, [stored("a", touched=True, mtime_ns=9)])
    (file,) = stores.daqs.files(daq.id, versions=True)
    assert (file.version, file.mtime_ns, file.state) == (1, 9, FileState.STORED)


def test_what_failed_waits_again_and_what_was_no_file_is_forgotten(stores: Stores) -> None:
    daq = stores.start()
    stores.add(daq, "a", "folder")
    stores.store(daq, "c")
    failed = [change(name, FileState.FAILED, reason="no") for name in ("a", "folder")]
    stores.work.apply(daq.id, failed)
    stores.work.revive(daq.id, ["a", "c"])
    stores.work.forget(daq.id, "folder")
    stores.work.forget(daq.id, "c")
    assert stores.states(daq) == {"a": "waiting", "c": "stored"}
    stores.work.give_up(daq.id, FileState.SKIPPED, "cancelled")
    assert stores.states(daq) == {"a": "skipped", "c": "stored"}


def test_many_names_at_once(stores: Stores) -> None:
    daq = stores.start()
    names = [f"{number}" for number in range(1234)]
    stores.store(daq, *names)
    assert len(stores.work.taken([f"/exp/data/{name}" for name in names])) == 1234
    page = [file.name for file in stores.daqs.files(daq.id, limit=1000)]
    rest = [file.name for file in stores.daqs.files(daq.id, after=page[-1])]
    assert sorted(page + rest) == sorted(names)


def test_names_that_a_database_refuses_are_escaped(stores: Stores) -> None:
    daq = stores.start()
    stores.add(daq, "a\udce9\0b")
    assert stores.states(daq) == {"a\\udce9\\x00b": "waiting"}


def test_batches_are_made_when_they_are_due_and_of_each_file_once(stores: Stores) -> None:
    daq, other = stores.start(), stores.start("other")
    stores.store(daq, "a", "b", "c")
    stores.store(other, "z")
    assert stores.batches.gather(before=0, most=5) == 0
    assert stores.batches.gather(before=0, most=3) == 1  # three wait
    (batch,) = stores.batches.unsettled()
    assert [file.name for file in batch.files] == ["a", "b", "c"]
    assert {file.run for file in batch.files} == {batch.run}
    assert stores.batches.gather(before=time.time() + 1, most=3) == 1  # the other one has waited
    assert stores.batches.gather(before=time.time() + 1, most=3) == 0
    assert len(stores.batches.unsettled()) == 2
    assert stores.batches.rest(daq.id) == 3
    stores.batches.settle(batch)
    stores.batches.settle(batch)
    assert stores.batches.rest(daq.id) == 0
    assert stores.states(daq) == {"a": "catalogued", "b": "catalogued", "c": "catalogued"}
    assert [each.daq.id for each in stores.batches.unsettled()] == [other.id]


def test_a_batch_is_not_larger_than_it_may_be(stores: Stores) -> None:
    daq = stores.start()
    stores.store(daq, *"abcde")
    stores.work.set_drained(daq.id)
    while stores.batches.gather(before=0, most=2):
        pass
    batches = stores.batches.unsettled()
    assert sorted(len(batch.files) for batch in batches) == [1, 2, 2]
    assert sorted(file.name for batch in batches for file in batch.files) == list("abcde")


def test_only_the_own_station_is_worked_for(
    stores: Stores, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    daq = stores.start()
    if "server" not in request.node.callspec.id:
        assert [each.id for each in stores.work.undrained()] == [daq.id]
        return
    foreign = Stores(tmp_path / "elsewhere", request.getfixturevalue("postgres_url"))
    try:
        stores.store(daq, "a")
        stores.work.set_drained(daq.id)
        assert foreign.work.undrained() == foreign.work.drained() == foreign.batches.unsettled() == []
        assert foreign.batches.gather(before=time.time() + 1, most=1) == 0
        assert [each.id for each in foreign.daqs.list()] == [daq.id]
        assert [each.id for each in stores.work.drained()] == [daq.id]
        # It may have a disk of its own at the same path.
        assert foreign.work.taken(["/exp/data/a"]) == {}
        assert foreign.work.holder("/exp/data/a", "a") is None
    finally:
        foreign.close()


def test_so_many_of_one_owner_and_no_more(stores: Stores) -> None:
    first = stores.start()
    with pytest.raises(DaqError, match="eva has 1 DAQs and uploads at work already"):
        stores.start("more", most=1)
    stores.daqs.cancel(first.id, actor="eva")
    stores.start("more", most=1)
