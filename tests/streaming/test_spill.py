"""Batches on disk: what is read is what was written, and the disk is given back."""

import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.model import EventBatch, FrameBatch
from apsdm_bluesky.reduction import pack_events
from apsdm_bluesky.streaming import _spill
from apsdm_bluesky.streaming._spill import SpillFiles


def dense(first, count, dtype="uint16", *, timed=True):
    rng = np.random.default_rng(first)
    return FrameBatch(
        frames=rng.integers(0, 100, (count, 3, 5)).astype(dtype),
        indices=np.arange(first, first + count),
        timestamps=np.linspace(0, 1, count) if timed else None,
    )


def same(one, other):
    assert type(one) is type(other)
    assert one.shape == other.shape
    for name in one.__slots__:
        left, right = getattr(one, name), getattr(other, name)
        assert np.asarray(left).dtype == np.asarray(right).dtype
        assert np.array_equal(left, right), name


@pytest.fixture
def files(tmp_path):
    made = SpillFiles(tmp_path / "spill")
    yield made
    made.close()


@given(batches=st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 9)), min_size=1, max_size=8))
def test_what_is_read_is_what_was_written(tmp_path_factory, batches):
    files = SpillFiles(tmp_path_factory.mktemp("spill"))
    written = [dense(first, count, timed=timed) for first, (_, timed, count) in enumerate(batches)]
    written = [pack_events(b) if events else b for b, (events, _, _) in zip(written, batches, strict=True)]
    spilled = [files.append(batch) for batch in written]
    assert [item.count for item in spilled] == [len(batch) for batch in written]
    for batch, item in zip(written, spilled, strict=True):
        same(item.batch(), batch)
        assert not item.batch().indices.flags.writeable
        item.release()
    files.close()


def test_a_batch_without_an_event(files):
    empty = pack_events(FrameBatch(frames=np.zeros((2, 3, 5), np.uint16), indices=np.arange(2)))
    read = files.append(empty).batch()
    assert isinstance(read, EventBatch)
    same(read, empty)


def test_disk_space_is_given_back_file_by_file(files, monkeypatch):
    monkeypatch.setattr(_spill, "_FILE_BYTES", 1)
    spilled = [files.append(dense(first, 4)) for first in range(3)]
    for read, item in enumerate(spilled):
        assert sum(not other.file.closed for other in spilled) == 3 - max(0, read - 1)
        item.release()
    assert [item.file.closed for item in spilled] == [True, True, False]
    files.close()
    assert spilled[-1].file.closed


def test_a_file_cut_short_is_told(files):
    item = files.append(dense(0, 4))
    os.ftruncate(item.file.fileno(), 10)
    with pytest.raises(StorageError, match=r"spill: frames .* cannot be read \(the file is too short\)"):
        item.batch()


def test_a_disk_that_is_full_keeps_what_it_has(files):
    kept = files.append(dense(0, 4))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            files.append(dense(1, 4))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    same(kept.batch(), dense(0, 4))


def test_a_killed_process_leaves_no_file(tmp_path):
    code = (
        "import sys, numpy as np, pathlib\n"
        "from apsdm_bluesky.model import FrameBatch\n"
        "from apsdm_bluesky.streaming._spill import SpillFiles\n"
        "files = SpillFiles(pathlib.Path(sys.argv[1]))\n"
        "files.append(FrameBatch(frames=np.ones((9, 8, 8)), indices=np.arange(9)))\n"
        "print('spilled', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"spilled\n"
        process.send_signal(signal.SIGKILL)
    assert list(tmp_path.iterdir()) == []
