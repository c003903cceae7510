"""Globus does not serve, or not us: rows 13 to 17."""

import pytest

from apsdm_bluesky.archive import State

from .world import READ, SENT


def hold(world) -> None:
    """Have the agent submit a run, and its copy stop in the middle."""
    world.globus.configure(hold_at_bytes=1)
    world.take()
    world.start()
    world.until(State.SUBMITTED)


@pytest.mark.fault(13)
@pytest.mark.parametrize("status", [429, 503])
def test_a_storm_of_hours_is_waited_out_as_it_asks(world, status):
    """Retry-After is 2 h: nothing is asked meanwhile; a new agent asks at once, and loses nothing."""
    hold(world)
    world.globus.fault("*", status=status, retry_after=7200, times=1000)
    record = world.until(State.SUBMITTED, reason="tried again at")
    world.take("other")
    world.until_run("tried again at", "other")
    hits = len(world.globus.faults_hit())
    assert hits <= 2, "the SDK tries once more, nobody else"
    world.kill()
    world.globus.clear_faults()
    world.globus.configure(hold_at_bytes=None)
    world.start()
    again = world.until(State.VERIFIED)
    world.until(State.VERIFIED, "other")
    assert again.submission_id == record.submission_id
    world.check()


@pytest.mark.fault(13)
def test_a_storm_passes(world):
    """It strikes every kind of call; the agent goes on by itself."""
    for route in ("transfer", "task", "stat"):
        world.globus.fault(route, status=503, times=2)
    world.globus.fault("task", status=429, retry_after=1, times=2)
    world.take()
    world.start()
    world.until(State.VERIFIED)
    assert len(world.globus.faults_hit()) == 8
    world.check()


@pytest.mark.fault(14)
def test_the_network_is_cut_while_polling(world):
    hold(world)
    world.globus.kill()
    try:
        record = world.until(State.SUBMITTED, reason="does not answer")
    finally:
        world.globus.start()
    world.globus.configure(hold_at_bytes=None)
    assert world.until(State.VERIFIED).submission_id == record.submission_id
    world.check()


@pytest.mark.fault(15)
def test_expired_and_revoked_tokens_are_renewed(world):
    world.globus.configure(token_lifetime_s=1)
    hold(world)
    world.globus.revoke_tokens(refresh=True)
    world.globus.configure(hold_at_bytes=None)
    world.until(State.VERIFIED)
    world.check()


@pytest.mark.fault(15)
def test_a_deleted_client_parks_until_a_person_has_acted(world):
    hold(world)
    world.globus.delete_client()
    world.take("other")
    parked = world.until(State.PARKED, reason="make a new secret where the client is registered")
    assert parked.needs_person
    assert world.until(State.PARKED, "other", reason="make a new secret").needs_person
    world.globus.delete_client(deleted=False)
    world.globus.configure(hold_at_bytes=None)
    world.resume()
    world.resume("other")
    assert world.until(State.VERIFIED).submission_id == parked.submission_id
    world.until(State.VERIFIED, "other")
    world.check()


@pytest.mark.fault(16)
def test_a_missing_consent_parks_with_the_instruction(world):
    world.globus.require_consent("tape")
    world.take()
    world.start()
    parked = world.until(State.PARKED, reason="set archive.globus.data_access")
    assert parked.needs_person
    assert world.tasks() == []
    world.stop()
    world.start(data_access=("destination",))
    world.resume()
    world.until(State.VERIFIED)
    world.check()


@pytest.mark.fault(16)
def test_a_session_policy_parks_with_the_instruction(world):
    hold(world)
    world.globus.require_session("tape", ["alcf.anl.gov"])
    world.globus.configure(hold_at_bytes=None)
    parked = world.until(State.PARKED, reason="needs an identity of alcf.anl.gov")
    assert parked.needs_person
    assert "guest collection" in parked.reason
    world.globus.require_session("tape", None)
    world.resume()
    world.until(State.VERIFIED)
    world.check()


@pytest.mark.fault(17)
@pytest.mark.parametrize("status", ["INACTIVE", "ACTIVE"])
def test_a_pause_by_an_administrator_is_waited_for(world, status):
    world.globus.pause("tape", status=status)
    world.take()
    world.start()
    record = world.until(State.SUBMITTED, reason="administrator paused it")
    assert not record.needs_person
    world.kill()
    world.start()
    world.globus.resume("tape")
    assert world.until(State.VERIFIED).submission_id == record.submission_id
    world.check(SENT, READ)


@pytest.mark.fault(17)
def test_expired_credentials_are_waited_for(world):
    world.globus.expire_credentials("tape")
    world.take()
    world.start()
    record = world.until(State.SUBMITTED, reason="fresh login")
    world.globus.expire_credentials("tape", expired=False)
    assert world.until(State.VERIFIED).submission_id == record.submission_id
    world.check()
