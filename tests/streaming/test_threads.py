"""Threads that run the parts of a reduction."""

import threading

import pytest

from apsdm_bluesky.reduction import OneThread, Workers
from apsdm_bluesky.streaming import Threads


def test_every_part_runs_once() -> None:
    with Threads(2) as threads:
        for workers in (OneThread(), threads):
            parts: list[int] = []
            run(workers, parts.append, 5)
            assert sorted(parts) == [0, 1, 2, 3, 4]


def test_parts_run_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=30)
    places: list[int] = []
    with Threads(2) as threads:
        threads.run(lambda part: places.append(meeting.wait()), 2)  # alone, a part would wait in vain
    assert sorted(places) == [0, 1]


def test_a_part_that_fails_is_told_when_all_have_ended() -> None:
    ended = []

    def task(part: int) -> None:
        if part == 0:
            raise ValueError("the first")
        ended.append(part)

    with Threads(2) as threads, pytest.raises(ValueError, match="the first"):
        threads.run(task, 4)
    assert sorted(ended) == [1, 2, 3]


def run(workers: Workers, task, parts: int) -> None:  # the protocol, as mypy sees it
    workers.run(task, parts)
