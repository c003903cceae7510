"""Folders in which something changed: the kernel's word, and a whole look now and then."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from apsdm_bluesky.daq._inotify import InotifyWatcher
from apsdm_bluesky.daq._mounts import file_system_in, file_system_of, is_shared
from apsdm_bluesky.daq._source import Source
from apsdm_bluesky.daq._wants import Wants
from apsdm_bluesky.daq._watch import PollWatcher, Watcher, WholeLooks, open_watcher
from tests.daq.trees import open_descriptors, write

LONG = 30.0
HOUR = 3600.0


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    (tmp_path / "top").mkdir()
    with Source(tmp_path / "top") as source:
        yield source


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def watcher(source: Source, told: list[str]) -> Iterator[InotifyWatcher]:
    write(source.path / "a/b/old")
    watcher = InotifyWatcher(source, HOUR, told.append)
    assert watcher.wait(LONG) is None
    yield watcher
    watcher.close()
    assert told == []


def until(watcher: Watcher, *expected: str) -> set[str]:
    """All that is told until the folders that are expected were among it."""
    found: set[str] = set()
    deadline = time.monotonic() + LONG
    while not found.issuperset(expected):
        assert time.monotonic() < deadline, f"{expected} was not told, but {found}"
        changed = watcher.wait(LONG)
        assert changed is not None
        found |= changed
    return found


def quiet(watcher: Watcher) -> bool:
    return watcher.wait(0.0) == set()


def test_at_first_everything_is_to_be_looked_at(watcher: InotifyWatcher) -> None:
    assert quiet(watcher)


@pytest.mark.parametrize("folder", ["", "a", "a/b"])
def test_tells_the_folder_in_which_a_file_was_written(
    watcher: InotifyWatcher, source: Source, folder: str
) -> None:
    write(source.path / folder / "new.h5")
    assert until(watcher, folder) == {folder}
    assert quiet(watcher)


def test_tells_the_folder_into_which_a_file_was_renamed(watcher: InotifyWatcher, source: Source) -> None:
    outside = write(source.path.parent / "outside")
    outside.rename(source.path / "a/new.h5")
    assert until(watcher, "a") == {"a"}
    (source.path / "a/new.h5").rename(source.path / "a/b/new.h5")
    assert until(watcher, "a", "a/b") == {"a", "a/b"}


def test_tells_a_file_whose_permissions_or_times_were_changed(
    watcher: InotifyWatcher, source: Source
) -> None:
    os.utime(source.path / "a/b/old", (1, 1))
    assert until(watcher, "a/b") == {"a/b"}
    (source.path / "a/b/old").chmod(0o640)
    assert until(watcher, "a/b") == {"a/b"}
    (source.path / "a/b").chmod(0o750)
    assert until(watcher, "a/b") <= {"a", "a/b"}


def test_new_folders_are_watched_with_what_was_in_them_before(
    watcher: InotifyWatcher, source: Source
) -> None:
    write(source.path / "new/deep/deeper/file")
    until(watcher, "new/deep/deeper")
    assert quiet(watcher)
    write(source.path / "new/deep/deeper/more")
    assert until(watcher, "new/deep/deeper") == {"new/deep/deeper"}


def test_a_whole_tree_that_is_moved_in_is_told_and_watched(watcher: InotifyWatcher, source: Source) -> None:
    write(source.path.parent / "outside/x/file")
    (source.path.parent / "outside").rename(source.path / "a/in")
    assert until(watcher, "a", "a/in", "a/in/x") == {"a", "a/in", "a/in/x"}
    write(source.path / "a/in/x/more")
    assert until(watcher, "a/in/x") == {"a/in/x"}


def test_a_folder_that_was_renamed_goes_by_its_new_name(watcher: InotifyWatcher, source: Source) -> None:
    (source.path / "a").rename(source.path / "z")
    assert until(watcher, "", "z", "z/b") == {"", "z", "z/b"}
    write(source.path / "z/b/more")
    assert until(watcher, "z/b") == {"z/b"}
    write(source.path / "a/anew/file")
    until(watcher, "a/anew")


def test_a_folder_that_was_moved_out_is_watched_no_more(watcher: InotifyWatcher, source: Source) -> None:
    (source.path / "a").rename(source.path.parent / "outside")
    until(watcher, "")
    write(source.path.parent / "outside/b/more")
    assert quiet(watcher)


def test_a_folder_that_was_removed_and_made_anew_is_watched(watcher: InotifyWatcher, source: Source) -> None:
    for _ in range(3):
        (source.path / "a/b/old").unlink()
        (source.path / "a/b").rmdir()
        write(source.path / "a/b/old")
        until(watcher, "a/b")


def test_folders_swapped_while_nobody_read_are_watched_by_their_names(
    watcher: InotifyWatcher, source: Source
) -> None:
    top = source.path
    write(top / "one/1")
    (top / "one").rename(top / "two")
    write(top / "one/2")
    (top / "a").rename(top / "three")
    (top / "two").rename(top / "a")
    until(watcher, "", "one", "a", "three", "three/b")
    while not quiet(watcher):
        pass
    for name in ("one", "a", "three/b"):
        write(top / name / "more")
        assert until(watcher, name) == {name}


def test_links_are_not_watched_through(watcher: InotifyWatcher, source: Source) -> None:
    write(source.path.parent / "outside/file")
    (source.path / "link").symlink_to("../outside")
    assert until(watcher, "") == {""}
    write(source.path.parent / "outside/more")
    assert quiet(watcher)


def test_folders_that_are_not_wanted_are_not_watched(source: Source, told: list[str]) -> None:
    write(source.path / ".git/x")
    write(source.path / "skip/x")
    watcher = InotifyWatcher(source, HOUR, told.append, Wants(exclude=("skip",)))
    assert watcher.wait(LONG) is None
    write(source.path / ".git/y")
    write(source.path / "skip/deep/y")
    assert quiet(watcher)
    watcher.close()


def test_a_growing_file_is_told_when_it_comes_and_when_it_is_closed(
    watcher: InotifyWatcher, source: Source
) -> None:
    with (source.path / "growing").open("wb", buffering=0) as file:
        assert until(watcher, "") == {""}
        for _ in range(100):
            file.write(b"more")
        assert quiet(watcher)
    assert until(watcher, "") == {""}


def test_after_lost_events_everything_is_looked_at_and_watched(
    watcher: InotifyWatcher, source: Source, told: list[str]
) -> None:
    write(source.path / "x")
    write(source.path / "y")
    for _ in range(int(Path("/proc/sys/fs/inotify/max_queued_events").read_text()) // 2 + 100):
        for name in ("x", "y"):
            os.close(os.open(source.path / name, os.O_WRONLY))
    # Of these nobody is told: a folder that comes, one that is renamed.
    write(source.path / "late/deep/file")
    (source.path / "a").rename(source.path / "z")
    assert watcher.wait(LONG) is None
    assert quiet(watcher)
    for name in ("late/deep", "z/b"):
        write(source.path / name / "more")
        assert until(watcher, name) == {name}


def test_when_the_watched_folder_itself_goes_everything_is_looked_at(
    watcher: InotifyWatcher, source: Source
) -> None:
    source.path.rename(source.path.parent / "moved")
    assert watcher.wait(LONG) is None
    assert not source.in_place()


def test_a_whole_look_is_due_again_although_inotify_is_quiet(source: Source, told: list[str]) -> None:
    watcher = InotifyWatcher(source, 0.05, told.append)
    assert watcher.wait(LONG) is None
    assert watcher.wait(LONG) is None
    watcher.close()


@pytest.mark.parametrize("how", ["inotify", "poll"])
def test_is_woken_by_another_thread_and_before(source: Source, told: list[str], how: str) -> None:
    watcher = open_watcher(source, "inotify" if how == "inotify" else "poll", HOUR, told.append)
    assert watcher.wait(LONG) is None
    watcher.wake()
    watcher.wake()
    assert watcher.wait(HOUR) == set()
    results: list[set[str] | None] = []
    thread = threading.Thread(target=lambda: results.append(watcher.wait(HOUR)))
    thread.start()
    watcher.wake()
    thread.join(LONG)
    assert results == [set()]
    watcher.close()
    watcher.wake()


@pytest.mark.parametrize("how", ["inotify", "poll"])
def test_a_closed_one_leaves_nothing_open(source: Source, told: list[str], how: str) -> None:
    for number in range(30):
        (source.path / f"{number}").mkdir()
    before = open_descriptors()
    watcher = open_watcher(source, "inotify" if how == "inotify" else "poll", HOUR, told.append)
    watcher.wait(0.0)
    watcher.close()
    watcher.close()
    assert open_descriptors() == before


def test_polling_looks_at_first_and_when_it_is_due() -> None:
    watcher = PollWatcher(0.02)
    assert [watcher.wait(LONG) for _ in range(3)] == [None] * 3
    watcher.close()
    watcher = PollWatcher(HOUR)
    assert watcher.wait(0.0) is None
    assert watcher.wait(0.0) == set()
    watcher.close()


def test_a_look_that_takes_long_does_not_follow_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    looks = WholeLooks(5)
    assert looks.left() == 0
    looks.begin()
    now = 60.0  # the look took a minute
    assert looks.left() == 5
    now = 65.0
    assert looks.left() == 0


_FEW_WATCHES = """
import sys
from pathlib import Path
from apsdm_bluesky.daq._inotify import InotifyWatcher
from apsdm_bluesky.daq._source import Source
what, limit, top = sys.argv[1], sys.argv[2], Path(sys.argv[3])
if what == "max_inotify_instances":
    Path("/proc/sys/user", what).write_text(limit)
with Source(top) as source:
    watcher = InotifyWatcher(source, 0.02, print)
    assert watcher.wait(60) is None
    if what == "max_inotify_watches":
        Path("/proc/sys/user", what).write_text(limit)
        for number in range(10):
            (top / str(number)).mkdir()
    while not watcher.polls:
        watcher.wait(60)
    assert watcher.wait(60) is None
    assert watcher.wait(60) is None
    watcher.close()
"""


@pytest.mark.parametrize("what", ["max_inotify_watches", "max_inotify_instances"])
def test_where_the_kernel_watches_no_more_it_polls_and_says_so_once(source: Source, what: str) -> None:
    """In a user namespace, which has limits of its own."""
    alone = ["unshare", "--map-root-user"]
    if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no namespaces for an unprivileged user on this machine")
    limit = "4" if what == "max_inotify_watches" else "0"
    command = [*alone, sys.executable, "-c", _FEW_WATCHES, what, limit, str(source.path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{source.path}: cannot be watched by inotify (no more ")
    assert "raise fs.inotify.max_user_" in line
    assert line.endswith("; it is looked through every 0.02 s instead")


MOUNTS = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /dev/shm rw - tmpfs tmpfs rw
41 22 0:51 / /beamline/data rw,relatime shared:9 - nfs4 server:/export rw,vers=4.2
42 22 0:52 / /beamline/with\040space rw shared:9 master:3 - fuse.sshfs host:/ rw
43 22 0:53 / /pool rw - btrfs /dev/sdb rw
"""


@pytest.mark.parametrize(
    ("device", "path", "kind", "shared"),
    [
        ((254, 0), "/home/x", "ext4", False),
        ((0, 51), "/beamline/data/run", "nfs4", True),
        ((0, 52), "/beamline/with space", "fuse.sshfs", True),
        ((0, 99), "/pool/subvolume/x", "btrfs", False),
        ((0, 99), "/beamline/with space/x", "fuse.sshfs", True),
        ((0, 99), "/beamline/database", "ext4", False),
    ],
)
def test_the_file_system_is_found_by_device_or_by_path(
    device: tuple[int, int], path: str, kind: str, shared: bool
) -> None:
    assert file_system_in(MOUNTS, os.makedev(*device), path) == kind
    assert is_shared(kind) is shared


def test_a_file_system_that_is_listed_nowhere_is_unknown() -> None:
    assert file_system_in("", os.makedev(1, 2), "/x") is None


def test_here_files_lie_on_a_local_disk_and_are_watched(source: Source, told: list[str]) -> None:
    kind = file_system_of(source.root.fd)
    assert kind is not None
    watcher = open_watcher(source, "auto", HOUR, told.append)
    assert isinstance(watcher, PollWatcher if is_shared(kind) else InotifyWatcher)
    watcher.close()


def test_a_single_file_is_polled(source: Source, told: list[str]) -> None:
    with Source(write(source.path / "one.h5")) as single:
        watcher = open_watcher(single, "auto", HOUR, told.append)
        assert isinstance(watcher, PollWatcher)
        watcher.close()
