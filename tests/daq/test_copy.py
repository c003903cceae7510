"""One file at a time, from a watched folder to an experiment, and what may happen to it meanwhile."""

import errno
import gc
import hashlib
import os
import re
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsdm_bluesky.daq._copy import Copied, Copier, IncompleteError, NotTakenError, Order, StoppedError
from apsdm_bluesky.daq._part import versioned
from apsdm_bluesky.daq._scan import Seen
from apsdm_bluesky.daq._source import OddFileError, Source
from apsdm_bluesky.daq._target import TargetError, UnplaceableError
from apsdm_bluesky.daq._work import Last
from tests.daq.trees import write

LARGE = 12 << 20  # is read in three parts


class Bay:
    """A watched folder and an experiment; `meanwhile` is done when a part of a large file has been read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "detector"
        self.folder.mkdir()
        self.root = folder / "experiment"
        self.data = self.root / "data"
        self.data.mkdir(parents=True)
        self.source = Source(self.folder)
        self.meanwhile: Callable[[], object] = lambda: None
        self.stop = False

    def copier(
        self, *, hashes: bool = True, in_place: bool = False, rules: dict[str, str] | None = None
    ) -> Copier:
        self.begun = False
        return Copier(
            self.data,
            self.root / ".incoming",
            "copy-0",
            in_place=in_place,
            hashes=hashes,
            rules=rules or {},
            should_stop=self._should_stop,
        )

    def _should_stop(self) -> bool:
        if not self.begun:  # asked before the file, not within it
            self.begun = True
            return False
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return self.stop

    def seen(self, name: str) -> Seen:
        info = self.source.stat(name)
        return Seen(name, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)

    def take(self, name: str, last: Last | None = None, *, hashes: bool = True, **more: object) -> Copied:
        copier = self.copier(hashes=hashes, in_place=bool(more.get("in_place")))
        return self.take_with(copier, self.seen(name), last, forgive=bool(more.get("forgive")))

    def take_with(
        self, copier: Copier, seen: Seen, last: Last | None = None, *, forgive: bool = False
    ) -> Copied:
        (answer,) = copier.take(self.source, [Order(seen, f"{self.data}/{seen.name}", last, forgive)])
        copier.close()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stored(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.data).as_posix(): path.read_bytes()
            for path in self.data.rglob("*")
            if path.is_file()
        }

    def left(self) -> list[str]:
        return [path.name for path in self.root.rglob("*.part")]


@pytest.fixture
def bay(tmp_path: Path) -> Iterator[Bay]:
    bay = Bay(tmp_path)
    yield bay
    assert bay.left() == []
    bay.source.close()


def last_of(copied: Copied) -> Last:
    return Last(copied.version, copied.path, copied.size, copied.mtime_ns, copied.sha256, None, True)


@given(content=st.binary(max_size=300))
def test_what_is_taken_is_the_same_to_the_byte(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    bay = Bay(tmp_path_factory.mktemp("bay"))
    path = write(bay.folder / "a/b.dat", content)
    copied = bay.take("a/b.dat")
    assert bay.stored() == {"a/b.dat": content}
    digest = hashlib.sha256(content).hexdigest()
    info = path.stat()
    assert copied == Copied(len(content), info.st_mtime_ns, digest, "a/b.dat", 1, False)
    assert (bay.data / "a/b.dat").stat().st_mtime_ns == info.st_mtime_ns
    bay.source.close()


@pytest.mark.parametrize("size", [(1 << 18) - 1, 1 << 18, (1 << 18) + 1, 1 << 22, (1 << 22) + 1, LARGE])
def test_large_files_are_the_same_too(bay: Bay, size: int) -> None:
    content = os.urandom(size)
    write(bay.folder / "x", content)
    assert bay.take("x").sha256 == hashlib.sha256(content).hexdigest()
    assert bay.stored()["x"] == content


DISTURBED = {
    "shrinks": (lambda path: os.truncate(path, 5 << 20), f"it shrank from {LARGE} to {5 << 20} bytes"),
    "grows": (
        lambda path: path.write_bytes(bytes(LARGE + 1)),
        f"it was changed while it was read ({LARGE} to {LARGE + 1} bytes)",
    ),
    "is written over": (lambda path: path.write_bytes(b"n" * LARGE), "it was changed while it was read"),
    "is removed": (lambda path: path.unlink(), "it was moved or removed while it was read"),
    "is renamed": (
        lambda path: path.rename(path.with_name("y")),
        "it was moved or removed while it was read",
    ),
    "is replaced": (
        lambda path: write(path.with_name("y"), bytes(LARGE)).rename(path),
        "another file took its name while it was read",
    ),
    "becomes a link": (
        lambda path: (path.rename(path.with_name("y")), path.symlink_to("y")),
        "it was moved or removed while it was read",
    ),
}


@pytest.mark.parametrize("what", DISTURBED)
@pytest.mark.parametrize("in_place", [False, True])
def test_a_file_that_is_disturbed_while_it_is_read_is_not_taken(bay: Bay, what: str, in_place: bool) -> None:
    path = write(bay.folder / "x", bytes(LARGE))
    disturb, told = DISTURBED[what]
    bay.meanwhile = lambda: disturb(path)
    with pytest.raises(NotTakenError, match=re.escape(told)):
        bay.take("x", in_place=in_place)
    assert bay.stored() == {}


def test_a_change_whose_time_was_set_back_is_seen(bay: Bay) -> None:
    path = write(bay.folder / "x", bytes(LARGE))
    before = path.stat()

    def change() -> None:
        with path.open("r+b") as file:
            file.write(b"new")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    bay.meanwhile = change
    with pytest.raises(NotTakenError, match="it was changed while it was read"):
        bay.take("x")


def test_what_was_changed_since_it_was_seen_is_not_taken(bay: Bay) -> None:
    path = write(bay.folder / "x", b"12345")
    seen = bay.seen("x")
    path.write_bytes(b"123456")
    copier = bay.copier()
    with pytest.raises(NotTakenError, match="it was changed again"):
        bay.take_with(copier, seen, forgive=True)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        bay.take_with(copier, seen, forgive=True)
    path.symlink_to("/etc/passwd")
    with pytest.raises(OddFileError, match="a link to /etc/passwd"):
        bay.take_with(copier, seen, forgive=True)
    assert bay.stored() == {}


def test_a_file_that_is_not_whole_is_taken_when_it_is_forgiven(bay: Bay) -> None:
    write(bay.folder / "x.h5", b"\x89HDF")
    write(bay.folder / "empty.h5", b"")
    with pytest.raises(IncompleteError, match="it has no HDF5 signature"):
        bay.take("x.h5")
    taken = bay.take("x.h5", forgive=True)
    assert taken.remark == "taken as it is, unchanged for long: it has no HDF5 signature"
    assert bay.take("empty.h5", forgive=True).remark == "taken as it is, unchanged for long: it is empty"


def test_rules_by_pattern_hold(bay: Bay) -> None:
    write(bay.folder / "x.h5", b"no HDF5")
    copier = bay.copier(rules={"x.*": "settled"})
    assert bay.take_with(copier, bay.seen("x.h5")).remark == ""


def test_a_daq_that_ends_stops_in_the_middle_of_a_file(bay: Bay) -> None:
    write(bay.folder / "x", bytes(LARGE))
    bay.stop = True
    with pytest.raises(StoppedError):
        bay.take("x")
    assert bay.stored() == {}


@pytest.mark.parametrize("hashes", [True, False])
def test_the_same_again_is_nothing_new_and_another_is_a_version(bay: Bay, hashes: bool) -> None:
    path = write(bay.folder / "x.dat", b"one")
    first = bay.take("x.dat", hashes=hashes)
    again = bay.take("x.dat", hashes=hashes)
    assert (again.path, again.version, again.was_there) == ("x.dat", 1, True)
    known = bay.take("x.dat", last_of(first), hashes=hashes)
    assert (known.path, known.version, known.was_there) == ("x.dat", 1, True)
    path.write_bytes(b"two")
    second = bay.take("x.dat", last_of(first), hashes=hashes)
    assert (second.path, second.version, second.was_there) == ("x.v2.dat", 2, False)
    write(bay.data / "x.v3.dat", b"by somebody else")
    path.write_bytes(b"three")
    third = bay.take("x.dat", last_of(second), hashes=hashes)
    assert (third.path, third.version) == ("x.v4.dat", 4)
    assert bay.stored() == {
        "x.dat": b"one", "x.v2.dat": b"two", "x.v3.dat": b"by somebody else", "x.v4.dat": b"three",
    }  # fmt: skip


def test_a_last_version_that_is_gone_is_put_back(bay: Bay) -> None:
    write(bay.folder / "a/x.dat", b"one")
    first = bay.take("a/x.dat")
    subprocess.run(["rm", "-r", bay.data / "a"], check=True)
    again = bay.take("a/x.dat", last_of(first))
    assert (again.path, again.version, again.was_there) == ("a/x.dat", 1, True)
    assert again.remark == "had been removed from the experiment, and was put back"
    assert bay.stored() == {"a/x.dat": b"one"}
    (bay.data / "a/x.dat").write_bytes(b"cut")
    os.truncate(bay.data / "a/x.dat", 1)
    third = bay.take("a/x.dat", last_of(first))
    assert (third.path, third.version, third.was_there) == ("a/x.v2.dat", 2, False)


def test_a_folder_of_the_experiment_that_is_removed_meanwhile_is_made_anew(bay: Bay) -> None:
    copier = bay.copier()
    for name in ("a/one", "a/two"):
        write(bay.folder / name)
        bay.take_with(copier, bay.seen(name))
        subprocess.run(["rm", "-r", bay.data / "a", bay.root / ".incoming"], check=True)


def test_what_stands_in_the_way_is_not_overwritten(bay: Bay) -> None:
    write(bay.data / "a", b"a file, where a folder should be")
    write(bay.folder / "a/x")
    with pytest.raises(UnplaceableError, match=r"File exists|Not a directory"):
        bay.take("a/x")
    (bay.data / "link").symlink_to(bay.root / "elsewhere")
    write(bay.folder / "link", b"content")
    assert bay.take("link").path == "link.v2"
    assert not (bay.root / "elsewhere").exists()


@pytest.mark.parametrize("link", ["a", "a/b"])
def test_a_link_in_the_experiment_is_not_followed(bay: Bay, link: str) -> None:
    elsewhere = bay.root.parent / "another experiment"
    elsewhere.mkdir()
    (bay.data / link).parent.mkdir(exist_ok=True)
    (bay.data / link).symlink_to(elsewhere)
    write(bay.folder / "a/b/x")
    with pytest.raises(UnplaceableError, match=r"a link to .*another experiment, which is not followed"):
        bay.take("a/b/x")
    assert list(elsewhere.iterdir()) == []


def test_a_link_in_the_place_of_the_parts_is_not_followed(bay: Bay) -> None:
    elsewhere = bay.root.parent / "elsewhere"
    elsewhere.mkdir()
    (bay.root / ".incoming").symlink_to(elsewhere)
    write(bay.folder / "x")
    with pytest.raises(TargetError, match="incoming"):
        bay.take("x")
    assert list(elsewhere.iterdir()) == []


def test_a_part_that_is_also_another_file_is_never_written_into(bay: Bay) -> None:
    write(bay.folder / "x", b"one")
    write(bay.folder / "y", b"other")
    bay.take("x")
    os.link(bay.data / "x", bay.root / ".incoming/copy-0-0.part")  # as if it could not be removed
    bay.take("y")
    assert bay.stored() == {"x": b"one", "y": b"other"}


@pytest.mark.parametrize(("mode", "copied"), [(0o600, 0o600), (0o640, 0o640), (0o777, 0o644), (0o400, 0o600)])
def test_a_copy_is_readable_to_nobody_who_could_not_read_the_file(bay: Bay, mode: int, copied: int) -> None:
    write(bay.folder / "x").chmod(mode)
    before = os.umask(0o022)
    try:
        bay.take("x")
    finally:
        os.umask(before)
    assert (bay.data / "x").stat().st_mode & 0o777 == copied


def test_no_file_has_its_name_before_all_are_on_the_disk(bay: Bay, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number}" for number in range(6)]
    for name in names:
        write(bay.folder / name)
    synced: list[dict[str, bytes]] = []

    def sync(path: Path) -> None:
        synced.append(bay.stored())
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr("apsdm_bluesky.daq._copy.sync_file_system", sync)
    orders = [Order(bay.seen(name), f"{bay.data}/{name}", None, False) for name in names]
    answers = bay.copier().take(bay.source, orders)
    assert synced == [{}]
    assert [type(answer) for answer in answers] == [TargetError] * len(names)
    assert bay.stored() == {}


def test_an_experiment_that_is_gone_hinders_all(bay: Bay) -> None:
    write(bay.folder / "x")
    subprocess.run(["rm", "-r", bay.root], check=True)
    with pytest.raises(TargetError, match="No such file or directory"):
        bay.take("x")
    assert not bay.root.exists()


def test_a_full_disk_hinders_all_and_nothing_is_left_there(bay: Bay, tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", bay.root], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        bay.data.mkdir()
        write(bay.folder / "x", bytes(LARGE))
        with pytest.raises(TargetError, match=os.strerror(errno.ENOSPC)):
            bay.take("x")
        assert bay.left() == []
        write(bay.folder / "x", b"small")
        assert bay.take("x").size == 5
    finally:
        gc.collect()  # the error that was raised holds what was open
        subprocess.run(["umount", bay.root], check=True)


def test_a_file_that_is_too_large_is_told_and_others_are_taken(bay: Bay) -> None:
    write(bay.folder / "x", bytes(LARGE))
    write(bay.folder / "y")
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(UnplaceableError, match="File too large"):
            bay.take("x")
        bay.take("y")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert bay.stored() == {"y": b"content"}


NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=90
)


@given(
    name=NAMES.filter(lambda name: name not in (".", "..") and len(name.encode()) <= 255),
    version=st.integers(2, 99),
)
def test_versions_are_names_that_a_file_system_takes(name: str, version: int) -> None:
    path = versioned(f"/data/a/{name}", version)
    folder, _, last = path.rpartition("/")
    assert folder == "/data/a"
    assert last != name
    assert f".v{version}" in last
    assert len(last.encode()) <= 255 or len(Path(name).suffix.encode()) > 240
    assert versioned(f"/data/a/{name}", 1) == f"/data/a/{name}"
    assert path != versioned(f"/data/a/{name}", version + 1)


def test_the_longest_names_get_versions(bay: Bay) -> None:
    name = "é" * 125 + ".h5.x"
    path = write(bay.folder / name, b"one")
    first = bay.take(name)
    path.write_bytes(b"two")
    second = bay.take(name, last_of(first))
    assert second.version == 2
    assert len(second.path.encode()) <= 255
    assert second.path.endswith("é.v2.x")


def test_of_many_files_the_few_that_are_there_are_taken(bay: Bay) -> None:
    names = [f"{number}" for number in range(8)]
    for name in names:
        write(bay.folder / name)
    orders = [Order(bay.seen(name), f"{bay.data}/{name}", None, False) for name in names]
    for name in names[:6]:
        (bay.folder / name).unlink()
    answers = bay.copier().take(bay.source, orders)
    assert [type(answer) for answer in answers] == [FileNotFoundError] * 6 + [Copied] * 2
    assert set(bay.stored()) == {"6", "7"}
