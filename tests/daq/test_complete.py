"""When files are complete: by how long nobody has changed them, and by what is in them."""

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsdm_bluesky.daq._complete import Completeness, Settling, Verdict
from apsdm_bluesky.daq._content import CHANGED
from apsdm_bluesky.daq._scan import Seen, scan
from apsdm_bluesky.daq._source import OddFileError, Source
from apsdm_bluesky.daq._wants import Wants
from tests.daq.trees import write

CLOCK = 1_800_000_000.0
DAY = 86400.0


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    with Source(tmp_path) as source:
        yield source


def at(age: float, *, changed: float | None = None, size: int = 100) -> Seen:
    """A file that was modified so many seconds before `CLOCK`, and changed in another way."""
    mtime, ctime = (int((CLOCK - each) * 1e9) for each in (age, age if changed is None else changed))
    return Seen("x", size, mtime, ctime, 7)


def look(source: Source, name: str = "x") -> Seen:
    (found,) = [each for each in scan(source, Wants()) if each.name == name]
    assert isinstance(found, Seen)
    return found


def test_a_new_file_is_unchanged_since_it_was_seen() -> None:
    settling, new = Settling(), at(3)
    assert settling.unchanged_s(new, now=10, clock=CLOCK) == 0
    assert settling.unchanged_s(new, now=11.5, clock=CLOCK + 1.5) == 1.5


@pytest.mark.parametrize("field", ["size", "mtime_ns", "ctime_ns", "ino"])
def test_any_change_begins_anew(field: str) -> None:
    settling, one = Settling(), at(3)
    settling.unchanged_s(one, now=10, clock=CLOCK)
    other = replace(one, **{field: getattr(one, field) + 1})
    assert settling.unchanged_s(other, now=15, clock=CLOCK) == 0
    assert settling.unchanged_s(other, now=16, clock=CLOCK) == 1
    assert settling.unchanged_s(one, now=17, clock=CLOCK) == 0


def test_what_was_changed_long_ago_need_not_wait() -> None:
    assert Settling().unchanged_s(at(DAY), now=10, clock=CLOCK) > DAY / 2


@pytest.mark.parametrize(
    "seen",
    [
        at(-DAY),  # its file system's clock goes ahead, or somebody set it
        at(60),  # its file system's clock may be a minute behind
        at(DAY, changed=1),  # a copy that keeps times
        at(DAY, changed=-DAY),
        at(-DAY, changed=DAY),
    ],
)
def test_where_times_say_nothing_what_is_seen_here_counts(seen: Seen) -> None:
    settling = Settling()
    assert settling.unchanged_s(seen, now=10, clock=CLOCK) == 0
    assert settling.unchanged_s(seen, now=12, clock=CLOCK + 2) == 2


def test_what_is_forgotten_is_new_again() -> None:
    settling = Settling()
    settling.unchanged_s(at(3), now=10, clock=CLOCK)
    settling.forget("x")
    settling.forget("x")
    assert len(settling) == 0
    assert settling.unchanged_s(at(3), now=15, clock=CLOCK) == 0


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 2), st.floats(-200, 200)), min_size=1, max_size=20))
def test_a_file_that_grows_is_never_unchanged_for_longer_than_it_is(
    steps: list[tuple[float, int, float]],
) -> None:
    """Whatever the clock of its file system says, as long as it is no five minutes behind."""
    settling, now, size, since, stamp = Settling(), 0.0, 0, 0.0, 0.0
    for wait, grown, skew in steps:
        now += wait
        if grown or not size:
            size, since, stamp = size + 1 + grown, now, CLOCK + now + skew
        seen = Seen("x", size, int(stamp * 1e9), int(stamp * 1e9), 7)
        assert settling.unchanged_s(seen, now=now, clock=CLOCK + now) <= now - since + 1e-6


def test_a_file_is_taken_when_it_has_settled(source: Source) -> None:
    write(source.path / "x")
    completeness, clock = Completeness(2.0), time.time()
    first = completeness.judge(source, look(source), now=10, clock=clock)
    assert first == Verdict(False, "it was changed less than 2 s ago", 2.0)
    assert completeness.judge(source, look(source), now=11.5, clock=clock).again_s == 0.5
    write(source.path / "x", b"more content")
    assert not completeness.judge(source, look(source), now=12, clock=clock).complete
    assert completeness.judge(source, look(source), now=14, clock=clock) == Verdict(True)


def test_a_copy_that_keeps_times_waits_as_a_new_file_does(source: Source) -> None:
    original = write(source.path / "original")
    os.utime(original, (1, 1))
    subprocess.run(["cp", "-p", original, source.path / "x"], check=True)
    assert look(source).mtime_ns == 10**9
    assert not Completeness(2.0).judge(source, look(source), now=10, clock=time.time()).complete


def test_an_upload_of_old_files_waits_for_nothing(source: Source) -> None:
    write(source.path / "x")
    tomorrow = time.time() + DAY
    assert Completeness(2.0).judge(source, look(source), now=10, clock=tomorrow) == Verdict(True)


def test_content_that_is_not_whole_is_waited_for_and_then_taken_as_it_is(source: Source) -> None:
    write(source.path / "x.h5", b"\x89HDF")
    completeness, clock = Completeness(2.0, give_up_s=600.0), time.time()
    seen = look(source, "x.h5")
    assert not completeness.judge(source, seen, now=0, clock=clock).complete
    assert completeness.judge(source, seen, now=3, clock=clock) == Verdict(
        False, "it has no HDF5 signature", 2.0
    )
    assert completeness.judge(source, seen, now=599, clock=clock).again_s == 1.0
    assert completeness.judge(source, seen, now=600, clock=clock) == Verdict(
        True, "taken as it is, unchanged for 600 s: it has no HDF5 signature"
    )


def test_an_old_file_that_was_never_closed_is_taken_at_once(source: Source) -> None:
    write(source.path / "x.h5", b"")
    verdict = Completeness(2.0).judge(source, look(source, "x.h5"), now=0, clock=time.time() + DAY)
    assert verdict == Verdict(True, "taken as it is, unchanged for 600 s: it is empty")


def test_what_is_changed_while_it_is_looked_at_is_never_taken(source: Source) -> None:
    path = write(source.path / "x")
    completeness, clock, stale = Completeness(2.0), time.time(), look(source)
    completeness.judge(source, stale, now=0, clock=clock)
    path.write_bytes(b"longer than before")
    for now in (3, 10_000):
        assert completeness.judge(source, stale, now=now, clock=clock) == Verdict(False, CHANGED, 2.0)


def test_rules_by_pattern_hold(source: Source) -> None:
    write(source.path / "x.h5", b"no HDF5")
    completeness = Completeness(2.0, {"x.*": "settled"})
    assert completeness.judge(source, look(source, "x.h5"), now=0, clock=time.time() + DAY).complete


def test_what_vanished_or_became_a_link_is_the_systems_error(source: Source) -> None:
    path = write(source.path / "x")
    seen, tomorrow = look(source), time.time() + DAY
    path.unlink()
    with pytest.raises(FileNotFoundError):
        Completeness(2.0).judge(source, seen, now=0, clock=tomorrow)
    path.symlink_to("/etc/passwd")
    with pytest.raises(OddFileError):
        Completeness(2.0).judge(source, seen, now=0, clock=tomorrow)


def test_what_is_forgotten_waits_again(source: Source) -> None:
    write(source.path / "x")
    completeness, clock = Completeness(2.0), time.time()
    completeness.judge(source, look(source), now=0, clock=clock)
    completeness.forget("x")
    assert not completeness.judge(source, look(source), now=5, clock=clock).complete
