"""When files have settled: how long nobody has changed them, by clocks that may differ."""

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsdm_bluesky.daq._scan import Seen, scan
from apsdm_bluesky.daq._settling import CLOCKS_DIFFER_S, GIVE_UP_S, Settling, Verdict
from apsdm_bluesky.daq._source import Source
from apsdm_bluesky.daq._wants import Wants
from tests.daq.trees import write

CLOCK = 1_800_000_000.0
DAY = 86400.0
SETTLE_S = 2.0


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


def wait_s(settling: Settling, seen: Seen, *, now: float, clock: float = CLOCK) -> float:
    """How long it has to rest still [s]; 0 where it has settled."""
    verdict = settling.judge(seen, now=now, clock=clock)
    assert verdict.settled is (verdict.again_s == 0)
    return verdict.again_s


def test_a_new_file_is_unchanged_since_it_was_seen() -> None:
    settling, new = Settling(SETTLE_S), at(3)
    assert wait_s(settling, new, now=10) == SETTLE_S
    assert wait_s(settling, new, now=11.5, clock=CLOCK + 1.5) == 0.5
    assert wait_s(settling, new, now=12, clock=CLOCK + 2) == 0


@pytest.mark.parametrize("field", ["size", "mtime_ns", "ctime_ns", "ino"])
def test_any_change_begins_anew(field: str) -> None:
    settling, one = Settling(SETTLE_S), at(3)
    wait_s(settling, one, now=10)
    other = replace(one, **{field: getattr(one, field) + 1})
    assert wait_s(settling, other, now=15) == SETTLE_S
    assert wait_s(settling, other, now=16) == SETTLE_S - 1
    assert wait_s(settling, one, now=17) == SETTLE_S


def test_what_was_changed_long_ago_need_not_wait_and_is_forgiven() -> None:
    assert Settling(SETTLE_S).judge(at(DAY), now=10, clock=CLOCK) == Verdict(True, forgive=True)


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
    settling = Settling(SETTLE_S)
    assert wait_s(settling, seen, now=10) == SETTLE_S
    assert wait_s(settling, seen, now=12, clock=CLOCK + 2) == 0


def test_where_the_clock_is_this_machines_an_age_of_seconds_counts() -> None:
    settling = Settling(SETTLE_S, clocks_differ_s=0.0)
    assert wait_s(settling, at(1.5), now=10) == 0.5
    assert settling.judge(at(60), now=10, clock=CLOCK) == Verdict(True)
    assert settling.judge(at(GIVE_UP_S), now=10, clock=CLOCK) == Verdict(True, forgive=True)
    assert wait_s(Settling(SETTLE_S), at(CLOCKS_DIFFER_S + 1.5), now=10) == 0.5


def test_what_is_forgotten_is_new_again() -> None:
    settling = Settling(SETTLE_S)
    wait_s(settling, at(3), now=10)
    settling.forget("x")
    settling.forget("x")
    assert len(settling) == 0
    assert wait_s(settling, at(3), now=15) == SETTLE_S


@given(
    st.floats(0.1, 20),
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 2), st.floats(-200, 200)), min_size=1, max_size=20),
)
def test_a_file_that_grows_is_never_taken_before_it_has_rested(
    settle_s: float, steps: list[tuple[float, int, float]]
) -> None:
    """Whatever the clock of its file system says, as long as it is no five minutes behind."""
    settling, now, size, since, stamp = Settling(settle_s), 0.0, 0, 0.0, 0.0
    for wait, grown, skew in steps:
        now += wait
        if grown or not size:
            size, since, stamp = size + 1 + grown, now, CLOCK + now + skew
        seen = Seen("x", size, int(stamp * 1e9), int(stamp * 1e9), 7)
        verdict = settling.judge(seen, now=now, clock=CLOCK + now)
        unchanged = settle_s - verdict.again_s
        assert unchanged <= now - since + 1e-6
        assert not verdict.settled or now - since >= settle_s - 1e-6
        assert not verdict.forgive


def test_a_file_is_taken_when_it_has_settled(source: Source) -> None:
    write(source.path / "x")
    settling, clock = Settling(SETTLE_S), time.time()
    assert settling.judge(look(source), now=10, clock=clock) == Verdict(False, SETTLE_S)
    assert settling.judge(look(source), now=11.5, clock=clock).again_s == 0.5
    write(source.path / "x", b"more content")
    assert not settling.judge(look(source), now=12, clock=clock).settled
    assert settling.judge(look(source), now=14, clock=clock) == Verdict(True)


def test_a_copy_that_keeps_times_waits_as_a_new_file_does(source: Source) -> None:
    original = write(source.path / "original")
    os.utime(original, (1, 1))
    subprocess.run(["cp", "-p", original, source.path / "x"], check=True)
    assert look(source).mtime_ns == 10**9
    assert not Settling(SETTLE_S, clocks_differ_s=0.0).judge(look(source), now=10, clock=time.time()).settled


def test_an_upload_of_old_files_waits_for_nothing(source: Source) -> None:
    write(source.path / "x")
    tomorrow = time.time() + DAY
    assert Settling(SETTLE_S).judge(look(source), now=10, clock=tomorrow).settled


def test_what_rests_for_long_is_forgiven_what_is_in_it(source: Source) -> None:
    write(source.path / "x.h5", b"\x89HDF")
    settling, clock, seen = Settling(SETTLE_S, give_up_s=600.0), time.time(), look(source, "x.h5")
    assert not settling.judge(seen, now=0, clock=clock).settled
    assert settling.judge(seen, now=599, clock=clock) == Verdict(True)
    assert settling.judge(seen, now=600, clock=clock) == Verdict(True, forgive=True)


def test_who_rests_longer_than_he_is_waited_for_is_forgiven_when_he_has_rested() -> None:
    settling = Settling(1000.0, give_up_s=600.0)
    assert not settling.judge(at(0), now=0, clock=CLOCK).settled
    assert not settling.judge(at(0), now=999, clock=CLOCK).settled
    assert settling.judge(at(0), now=1000, clock=CLOCK) == Verdict(True, forgive=True)
