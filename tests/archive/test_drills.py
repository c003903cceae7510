"""Drills: the same path as a restore, a bad bundle is found, and the bound is the right one."""

import pytest
import scipy.stats

from apsdm_bluesky.archive import (
    DrillSchedule,
    Purpose,
    ReadingState,
    State,
    drill_report,
    request_drill,
    share_below,
)
from apsdm_bluesky.errors import ApsdmError
from tests.archive.reading import ReadingDriver
from tests.archive.samples import SampleBeamline


@pytest.fixture
def sample(tmp_path):
    beamline = SampleBeamline(tmp_path / "home", keep_days=0)
    yield beamline
    beamline.session.close()


@pytest.fixture
def driver(sample):
    made = ReadingDriver(sample)
    yield made
    made.close()


@pytest.mark.parametrize(("checked", "bad"), [(1, 0), (10, 0), (59, 0), (10, 1), (200, 3), (5, 4)])
def test_the_bound_is_where_so_few_bad_ones_have_five_per_cent(checked, bad):
    """Its definition: with that share, `bad` or fewer of `checked` come with probability 0.05."""
    assert scipy.stats.binom.cdf(bad, checked, share_below(checked, bad)) == pytest.approx(0.05)


def test_the_bound_at_its_ends():
    assert share_below(0, 0) == share_below(3, 3) == 1.0
    assert share_below(59, 0) == pytest.approx(1 - 0.05 ** (1 / 59))


def test_a_drill_finds_the_flipped_bit_and_the_run_may_not_be_released(sample, driver):
    uids = ("one", "two", "three")
    for uid in uids:
        sample.take(uid)
    for uid in uids:
        driver.until(uid, State.VERIFIED)
    good = request_drill(driver.ledger, 3, seed=1, actor="test")
    assert {one.state for one in driver.finish(good)} == {ReadingState.CHECKED}
    assert (drill_report(driver.ledger).checked, drill_report(driver.ledger).bad) == (3, 0)
    assert drill_report(driver.ledger).share_below == pytest.approx(1 - 0.05 ** (1 / 3))
    tar = driver.tape / driver.ledger.get("two").destination
    data = bytearray(tar.read_bytes())
    data[len(data) // 2] ^= 1
    tar.write_bytes(data)
    bad = request_drill(driver.ledger, 10, actor="test")
    found = {one.bundle: one for one in driver.finish(bad)}
    assert {uid: one.state for uid, one in found.items()} == {
        "one": ReadingState.CHECKED,
        "two": ReadingState.FAILED,
        "three": ReadingState.CHECKED,
    }
    assert "came with sha256" in found["two"].reason
    assert driver.ledger.runs.get("two").state is State.PARKED
    assert driver.ledger.get("two").evidence is None
    assert driver.scratch() == []
    report = drill_report(driver.ledger, bad)
    assert (report.checked, report.bad) == (3, 1)
    assert (drill_report(driver.ledger).checked, drill_report(driver.ledger).bad) == (6, 1)
    again = request_drill(driver.ledger, 10, actor="test")
    assert {one.bundle for one in driver.ledger.readings.job(again)} == {"one", "three"}


def test_the_seed_chooses(sample, driver):
    for number in range(5):
        sample.take(f"run{number}")
    for number in range(5):
        driver.until(f"run{number}", State.VERIFIED)

    def chosen(seed):
        job = request_drill(driver.ledger, 2, seed=seed, actor="test")
        return {one.bundle for one in driver.ledger.readings.job(job)}

    assert chosen(3) == chosen(3)
    assert len({frozenset(chosen(seed)) for seed in range(20)}) > 3


def test_without_verified_bundles_there_is_none(driver):
    with pytest.raises(ApsdmError, match="no bundle is verified yet"):
        request_drill(driver.ledger, 1, actor="test")


def test_the_schedule_counts_from_the_ledger(sample, driver):
    def look(every_s):
        schedule = DrillSchedule(driver.ledger, every_s=every_s, bundles=2, actor="test")
        return schedule.look() or schedule.look()

    assert look(1e-9) is None, "nothing is verified"
    sample.take("raw")
    driver.until("raw", State.VERIFIED)
    assert look(0) is None
    assert look(3600) is None, "the bundle was read just now"
    job = look(1e-9)
    assert [one.purpose for one in driver.ledger.readings.job(job)] == [Purpose.DRILL]
    assert look(1e-9) is None, "one goes on"
    driver.finish(job)
    assert look(3600) is None, "a restart does not drill at once"
    assert look(1e-9) not in (None, job)
