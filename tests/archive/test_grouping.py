"""Which runs share a bundle, and how a big one is divided."""

import itertools
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from apsdm_bluesky.archive._grouping import Candidate, group, parts_of
from apsdm_bluesky.archive._sources import SourceFile

TARGET = 100
SIZES = st.one_of(st.none(), st.integers(0, 250))


def candidates(draw):
    count = draw(st.integers(0, 12))
    return [
        Candidate(
            uids=(f"run{n}",),
            size=draw(SIZES),
            since=float(draw(st.integers(0, 20))),
            company=("local", draw(st.sampled_from([None, "a", "b"]))),
        )
        for n in range(count)
    ]


CANDIDATES = st.composite(candidates)()


@given(CANDIDATES, st.integers(0, 30))
def test_each_run_is_bundled_once_with_its_own_kind_within_the_target(runs, now):
    groups = group(runs, target=TARGET, wait_s=10, now=now)
    uids = [one.uids for gathered in groups for one in gathered]
    assert len(uids) == len(set(uids))
    for gathered in groups:
        assert len({one.company for one in gathered}) == 1
        if len(gathered) > 1:
            assert sum(one.size for one in gathered) <= TARGET
    waiting = [one for one in runs if one.uids not in uids]
    assert all(one.size is not None and one.size < TARGET and now - one.since < 10 for one in waiting)


@given(CANDIDATES)
def test_without_waiting_each_run_has_its_own(runs):
    assert [len(gathered) for gathered in group(runs, target=TARGET, wait_s=0, now=0)] == [1] * len(runs)


@given(CANDIDATES)
def test_the_same_runs_make_the_same_groups_in_any_order(runs):
    there, back = (group(some, target=TARGET, wait_s=5, now=50) for some in (runs, runs[::-1]))
    assert there == back


@given(st.lists(st.integers(0, 250), max_size=20))
def test_parts_hold_every_file_once_in_order(sizes):
    files = [
        SourceFile(name=f"raw/{n}", path=Path(f"/raw/{n}"), size=size, mtime_ns=0)
        for n, size in enumerate(sizes)
    ]
    parts = parts_of(files, TARGET)
    assert [file for part in parts for file in part] == files
    assert all(len(part) == 1 or sum(file.size for file in part) <= TARGET for part in parts if part)
    for part, after in itertools.pairwise(parts):
        assert sum(file.size for file in part) + after[0].size > TARGET, "a part ends only where it is full"
