"""The machine of a reading: nothing is called right that was not compared, whatever comes in any order."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from apsdm_bluesky.archive import Purpose, Reading, ReadingState, TransitionError
from apsdm_bluesky.archive import _events as bundle_events
from apsdm_bluesky.archive import _reading_events as events
from apsdm_bluesky.archive._reading import ENDED, ReadingInstruction
from apsdm_bluesky.archive._reading_machine import TABLE, apply_reading
from apsdm_bluesky.archive._reading_machine import next_reading_instruction as instruct

DIGESTS = st.sampled_from(["a", "b"])
FIELDS = {
    "reason": st.sampled_from(["full", "gone"]),
    "needs_person": st.booleans(),
    "manifest_only": st.booleans(),
    **dict.fromkeys(("written", "adopted", "bytes", "compared"), st.integers(0, 3)),
}


def any_event() -> st.SearchStrategy[bundle_events.Event]:
    kinds = sorted({event for _, event in TABLE}, key=lambda event: event.__name__)
    return st.one_of(
        st.builds(kind, **{field.name: FIELDS.get(field.name, DIGESTS) for field in dataclasses.fields(kind)})
        for kind in kinds
    )


def a_reading(purpose: Purpose, **known) -> Reading:
    return Reading(uid="j-1", job="j", purpose=purpose, bundle="b", **known)


@given(st.sampled_from(Purpose), st.lists(any_event(), max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_events_keep_the_invariants(purpose, stream):
    reading, compared = a_reading(purpose), False
    for event in stream:
        before = reading
        try:
            reading = apply_reading(reading, event)
        except TransitionError:
            assert (before.state, type(event)) not in TABLE or before.state is not ReadingState.PARKED
            continue
        if isinstance(event, events.Fetched):
            compared = (event.found_sha256, event.found_manifest_sha256) == (
                event.known_sha256,
                event.known_manifest_sha256,
            )
        if reading.state is ReadingState.WAITING:
            compared = False
        check(reading, compared)
        assert not before.ended, "nothing leads out of an end"


def check(reading: Reading, compared: bool) -> None:
    if reading.state in (ReadingState.FETCHED, ReadingState.RESTORED, ReadingState.CHECKED):
        assert compared
        assert not reading.manifest_only
    assert reading.state is not ReadingState.RESTORED or reading.purpose is Purpose.RESTORE
    assert reading.state is not ReadingState.CHECKED or reading.purpose is not Purpose.RESTORE
    assert reading.task_id is None or reading.submission_id is not None
    assert reading.state is not ReadingState.STAGING or reading.task_id is not None
    assert (reading.resume_at is not None) == (reading.state is ReadingState.PARKED)
    told = (ReadingState.PARKED, ReadingState.FAILED, ReadingState.CANCELLED)
    assert reading.state not in told or reading.reason


@pytest.mark.parametrize("state", ReadingState)
def test_what_the_table_does_not_tell_is_refused(state):
    reading = dataclasses.replace(a_reading(Purpose.RESTORE), state=state, resume_at=ReadingState.WAITING)
    for kind in {event for _, event in TABLE}:
        if (state, kind) not in TABLE:
            fields = {"reason": "r", "needs_person": True}
            event = kind(**{field.name: fields.get(field.name) for field in dataclasses.fields(kind)})
            with pytest.raises(TransitionError, match=f"{kind.__name__} cannot happen in {state}"):
                apply_reading(reading, event)


def test_every_state_is_reached_and_the_ends_are_ends():
    reached = {step.to for step in TABLE.values()}
    assert reached == {*ReadingState, None}
    assert {state for state, _ in TABLE} == set(ReadingState) - set(ENDED)


class World(RuleBasedStateMachine):
    """A reading against a destination that is harmed, disks that fill, and a driver killed anywhere."""

    @initialize(purpose=st.sampled_from(Purpose), named=st.booleans())
    def begin(self, purpose, named):
        self.reading = a_reading(purpose, members=("m",) if named else None)
        self.remote = "good"
        self.manifest_here = False
        self.scratch: str | None = None
        self.place: str | None = None
        self.tasks: dict[str, bool] = {}
        self.told_bad = False

    def put(self, event):
        self.reading = apply_reading(self.reading, event)

    @rule(die=st.booleans())
    @precondition(lambda self: instruct(self.reading) is not ReadingInstruction.REST)
    def work(self, die):
        """One instruction; with `die` the process is killed before it records what it saw."""
        event = getattr(self, instruct(self.reading).name.lower())()
        if not die:
            self.put(event)

    def prepare(self):
        if self.remote is None:
            self.told_bad = True
            return events.ContentDiffers(reason="gone")
        self.scratch = None
        wants_manifest = self.reading.members is not None and not self.manifest_here
        name = f"id{len(self.tasks)}"
        return events.FetchPrepared(submission_id=name, manifest_only=wants_manifest)

    def fetch(self):
        self.tasks.setdefault(self.reading.submission_id, self.reading.manifest_only)
        assert self.tasks[self.reading.submission_id] == self.reading.manifest_only, "one id, one request"
        return events.FetchAccepted(task_id=self.reading.submission_id)

    def poll(self):
        if self.remote is None:
            return events.FetchFailed(reason="gone")
        if self.reading.manifest_only:
            self.manifest_here = True
            return events.ManifestFetched()
        self.scratch = self.remote
        self.told_bad = self.told_bad or self.scratch != "good"
        return events.Fetched(
            found_sha256=self.scratch,
            found_manifest_sha256="m",
            known_sha256="good",
            known_manifest_sha256="m",
        )

    def publish(self):
        if self.scratch != "good":
            return events.FetchLost(reason="harmed here")
        if self.place not in (None, self.scratch):
            return bundle_events.Blocked(reason="in the way", needs_person=True)
        written = self.place is None
        self.place = self.scratch
        return events.Published(written=int(written), adopted=int(not written), bytes=1)

    def check(self):
        if self.scratch != "good":
            return events.FetchLost(reason="harmed here")
        return events.Checked(compared=1)

    def resume(self):
        return bundle_events.Resumed()

    def wait(self):
        """The person comes, and moves away what is in the way."""
        if self.place != "good":
            self.place = None
        return bundle_events.Resumed()

    @rule(content=st.sampled_from([None, "evil"]))
    @precondition(lambda self: self.reading.state is not ReadingState.FAILED)
    def harm_destination(self, content):
        self.remote = content

    @rule(content=st.sampled_from([None, "harmed"]))
    def harm_scratch(self, content):
        self.scratch = content

    @rule()
    @precondition(lambda self: self.place is None)
    def put_in_the_way(self):
        self.place = "somebody's work"

    @rule(needs_person=st.booleans())
    @precondition(lambda self: (self.reading.state, bundle_events.Blocked) in TABLE)
    def block(self, needs_person):
        self.put(bundle_events.Blocked(reason="full", needs_person=needs_person))

    @invariant()
    def never_claims_too_much(self):
        match self.reading.state:
            case ReadingState.RESTORED:
                assert self.place == "good"
            case ReadingState.FAILED:
                assert self.told_bad
            case ReadingState.CHECKED:
                assert self.reading.purpose is not Purpose.RESTORE

    @invariant()
    def a_submitted_task_is_known_before_it_is_made(self):
        assert self.reading.task_id is None or self.reading.task_id in self.tasks

    def teardown(self):
        """When the faults end, every reading ends, and a restore with the file in its place."""
        if not hasattr(self, "reading"):
            return
        self.remote = self.remote or "good"
        for _ in range(20):
            if self.reading.ended:
                break
            self.put(getattr(self, instruct(self.reading).name.lower())())
        assert self.reading.ended
        if self.reading.state is not ReadingState.FAILED:
            restores = self.reading.purpose is Purpose.RESTORE
            assert self.reading.state is (ReadingState.RESTORED if restores else ReadingState.CHECKED)


World.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestWorld = World.TestCase
