"""The list of experiments, on SQLite and on PostgreSQL."""

import json
import os
import stat
import subprocess
import sys
import threading
from datetime import date

import pytest

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ApsdmError, ExperimentError, StorageError
from apsdm_bluesky.experiments import CurrentExperiment, ExperimentStore, NewExperiment, open_experiments

WHOLE = NewExperiment(
    name="gel-2026-3_silica.1",
    type="XPCS",
    description="Größe\x00 \udcff",
    proposal="0900101",
    esaf="900501",
    users=("ann", "bo", "ann"),
    start=date(2026, 10, 6),
    end=date(2026, 10, 9),
)


def test_an_experiment_is_read_as_it_was_made(store, tmp_path):
    made = store.create(WHOLE, actor="me")
    assert store.get(made.name) == store.by_id(made.id) == made
    assert (made.station, made.users, made.root) == ("8-ID-I", ("ann", "bo"), tmp_path / "data" / made.name)
    assert (made.start, made.end, made.proposal, made.esaf) == (
        date(2026, 10, 6),
        date(2026, 10, 9),
        "0900101",
        "900501",
    )
    assert made.description == "Größe\\x00 \\udcff"  # what no database takes
    assert made.data.is_dir()
    assert made.analysis.is_dir()
    assert made.system.is_dir()
    assert [(change.told, change.actor) for change in store.changes(made)] == [("created", "me")]


def test_listing(open_store, tmp_path):
    store, other = open_store(), open_store("9-ID", tmp_path / "other")
    one = store.create(NewExperiment(name="one", users=("ann",)), actor="me")
    two = store.create(NewExperiment(name="two", users=("bo", "ann")), actor="me")
    same = other.create(NewExperiment(name="one", users=("bo",)), actor="me")
    assert store.list() == other.list() == [same, two, one]
    assert store.list(station="8-ID-I") == [two, one]
    assert store.list(user="bo") == [same, two]
    assert store.list(station="9-ID", user="ann") == store.list(user="\0") == []
    assert (store.get("one"), store.get("one", "9-ID"), other.get("one")) == (one, same, same)


def test_users_are_added_once(store):
    made = store.create(NewExperiment(name="one", users=("ann",)), actor="me")
    for _ in range(2):
        changed = store.add_user("one", "bo", actor="you")
        assert changed.users == ("ann", "bo")
    assert changed.updated > made.updated
    assert [(change.told, change.actor) for change in store.changes(made)][1:] == [("user bo added", "you")]


def test_many_add_users_at_once(open_store):
    open_store().create(NewExperiment(name="one"), actor="me")
    stores = [open_store() for _ in range(4)]

    def add(store, number):
        for user in (f"user{number}", "both"):
            store.add_user("one", user, actor="me")

    threads = [threading.Thread(target=add, args=(store, i)) for i, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(stores[0].get("one").users) == ["both", "user0", "user1", "user2", "user3"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1a",
        ".a",
        "..",
        "a/b",
        "../a",
        "a b",
        "a\n",
        "a\0",
        "é",
        "a\u2028",
        "\udcff",
        "-rf",
        "a" * 101,
        "a$b",
        "a;b",
    ],
)
def test_hostile_names_are_refused(store, name, tmp_path):
    with pytest.raises(ExperimentError, match=r"is no name for an experiment: give letters") as caught:
        store.create(NewExperiment(name=name), actor="me")
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    assert store.list() == []
    assert not (tmp_path / "data").exists()
    for look_up in (store.get, lambda name: store.add_user(name, "ann", actor="me")):
        with pytest.raises(ExperimentError, match="is not known; see 'apsdm experiment ls'") as caught:
            look_up(name)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["a", "A" * 100, "a..", "a-", "CON", "select"])
def test_names_that_may_be(store, name):
    assert store.create(NewExperiment(name=name), actor="me").data.is_dir()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"users": ("a b",)}, "'a b' is no login name"),
        ({"users": ("",)}, "'' is no login name"),
        ({"users": ("a\x1b[31m",)}, "is no login name"),
        ({"proposal": ""}, "is no number of a proposal"),
        ({"esaf": "a\nb"}, "is no number of a proposal or an ESAF"),
        ({"start": date(2026, 2, 2), "end": date(2026, 2, 1)}, "ends on 2026-02-01, before it starts on"),
    ],
)
def test_what_cannot_be_used_is_told(store, fields, told, tmp_path):
    with pytest.raises(ExperimentError, match=told) as caught:
        store.create(NewExperiment(name="one", **fields), actor="me")
    assert str(caught.value).isprintable()
    assert store.list() == []
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("number", [0, -1, 7, 2**31, 2**70])
def test_a_number_that_nobody_has(store, number):
    store.create(NewExperiment(name="one"), actor="me")
    with pytest.raises(ExperimentError, match=f"experiment {number} is not known"):
        store.by_id(number)


def test_a_name_is_taken_once(store):
    store.create(NewExperiment(name="one"), actor="me")
    with pytest.raises(ExperimentError, match=r"experiment 'one' is there already at station '8-ID-I'"):
        store.create(NewExperiment(name="one"), actor="you")
    assert store.create(NewExperiment(name="ONE"), actor="me").name == "ONE"


def test_many_make_the_same_at_once(open_store):
    """Several processes: each has its own store."""
    stores, outcomes = [open_store() for _ in range(4)], []

    def create(store):
        try:
            outcomes.append(store.create(NewExperiment(name="one"), actor="me"))
        except ExperimentError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=create, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [outcome for outcome in outcomes if isinstance(outcome, ExperimentError)]
    assert len(outcomes) == 4
    assert len(refused) == 3
    assert all("is there already at station" in str(error) for error in refused)
    assert len(stores[0].list()) == 1


def test_processes_that_make_the_same_at_once(url, tmp_path):
    """From nothing: the tables, too, are made by one of them."""
    code = (
        "import sys; from pathlib import Path\n"
        "from apsdm_bluesky.errors import ExperimentError\n"
        "from apsdm_bluesky.experiments import ExperimentStore, NewExperiment\n"
        "folder, url = Path(sys.argv[1]), sys.argv[2] or None\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "store = ExperimentStore(folder / 'list', url, root=folder / 'data', station='s')\n"
        "try: print(store.create(NewExperiment(name='one'), actor='me').name)\n"
        "except ExperimentError as error: print('refused', error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), url or ""]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    told = sorted(process.communicate(timeout=60)[0].split()[0] for process in processes)
    assert told == ["one", "refused", "refused"]


def test_killed_at_every_step(tmp_path):
    command = [sys.executable, "-m", "tests.experiments.dying_create", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) > 20, "it was killed at few steps only"
    assert [line["killed"] for line in lines] == [True] * (len(lines) - 1) + [False]
    assert not lines[0]["refused"]
    assert lines[-1]["refused"]
    for line in lines:
        assert line["list"] == [["one", ["ann"], ["created"]]], line
        assert line["folders"] == ["one"]
        assert line["files"] == ["analysis", "data", "system", "system/experiment.json"]


# -- its folder --


def test_a_folder_that_is_not_empty_is_refused(store, tmp_path):
    (tmp_path / "data/one/data").mkdir(parents=True)
    (tmp_path / "data/one/data/frames.h5").touch()
    with pytest.raises(ExperimentError, match=r"data/one: is there already, and is not empty; choose"):
        store.create(NewExperiment(name="one"), actor="me")
    assert store.list() == []
    (tmp_path / "data/one/data/frames.h5").unlink()
    assert store.create(NewExperiment(name="one"), actor="me").data.is_dir()


@pytest.mark.parametrize("kind", ["file", "link", "link inside", "folder inside"])
def test_a_folder_that_is_none(store, tmp_path, kind):
    folder = tmp_path / "data/one"
    folder.parent.mkdir()
    (tmp_path / "elsewhere").mkdir()
    if kind == "file":
        folder.touch()
    elif kind == "link":
        folder.symlink_to(tmp_path / "elsewhere")
    elif kind == "link inside":
        folder.mkdir()
        (folder / "data").symlink_to(tmp_path / "elsewhere")
    else:
        (folder / "other").mkdir(parents=True)
    with pytest.raises(ExperimentError, match=r"data/one: is there already, and is no"):
        store.create(NewExperiment(name="one"), actor="me")
    assert store.list() == []
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_stations_and_lists_that_share_a_root_share_no_folder(open_store, tmp_path):
    made = open_store().create(NewExperiment(name="one"), actor="me")
    foreign = ExperimentStore(tmp_path / "other", root=tmp_path / "data", station="8-ID-I")
    for store in (open_store("9-ID"), foreign):
        with pytest.raises(ExperimentError, match="belongs to an experiment of another station or list"):
            store.create(NewExperiment(name="one"), actor="me")
    foreign.close()
    assert open_store().list() == [made]


def test_a_root_that_cannot_be_written(open_store, tmp_path):
    (tmp_path / "file").touch()
    store = open_store(root=tmp_path / "file")
    with pytest.raises(StorageError, match=r"file/one: cannot be made \(.*\); free space, give access"):
        store.create(NewExperiment(name="one"), actor="me")
    assert store.list() == []


def test_experiments_of_a_configuration(tmp_path):
    config = BeamlineConfig(home=tmp_path, name="8-ID", experiments={"station": "8-ID-E"})
    store = open_experiments(config)
    made = store.create(NewExperiment(name="one"), actor="me")
    assert (made.station, made.root) == ("8-ID-E", tmp_path / "data/one")
    assert (tmp_path / "experiments/experiments.sqlite").is_file()
    store.close()


# -- the current one --


def test_the_current_experiment_is_kept(tmp_path):
    current = CurrentExperiment(tmp_path / "experiments")
    assert current.get() is None
    current.clear()
    for name in ("one", "two.2"):
        current.set(name)
        assert CurrentExperiment(tmp_path / "experiments").get() == name
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "experiments/current").stat().st_mode) == 0o666 & ~mask
    current.clear()
    assert current.get() is None
    with pytest.raises(ExperimentError, match="is no name"):
        current.set("../one")


@pytest.mark.parametrize("content", [b"", b"../x", b"\xff\x00", b"a\nb", b"a" * 5000])
def test_a_damaged_file_is_told(tmp_path, content):
    (tmp_path / "current").write_bytes(content)
    with pytest.raises(ExperimentError, match=r"current: .*'apsdm experiment use' writes it anew") as caught:
        CurrentExperiment(tmp_path).get()
    assert str(caught.value).isprintable()


def test_a_file_that_is_a_folder(tmp_path):
    (tmp_path / "current").mkdir()
    current = CurrentExperiment(tmp_path)
    for call in (current.get, current.clear, lambda: current.set("a")):
        with pytest.raises(ApsdmError, match=r"current: cannot be"):
            call()
