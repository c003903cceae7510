"""The state machine: nothing is claimed without evidence, whatever comes in whatever order."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from apsdm_bluesky.archive import TABLE, Evidence, Instruction, Record, State, TransitionError, apply
from apsdm_bluesky.archive import _events as events
from apsdm_bluesky.archive import next_instruction as instruct

DIGESTS = st.sampled_from(["a", "b"])
SIZES = st.sampled_from([1, 2])
WORDS = st.sampled_from(["full", "gone"])
FIELDS = {
    "destination": st.just("x/y.tar"),
    "size": SIZES,
    "found_size": SIZES,
    "manifest_size": SIZES,
    "found_manifest_size": SIZES,
    "residency": st.sampled_from(["on_disk", "on_tape", "unknown"]),
    "found_md5": st.sampled_from([None, "a", "b"]),
    "reason": WORDS,
    "needs_person": st.booleans(),
}


def an_event(state: State) -> st.SearchStrategy[events.Event]:
    """Any event that the table knows in a state, with any content."""
    kinds = sorted((event for known, event in TABLE if known is state), key=lambda event: event.__name__)
    return st.one_of(
        st.builds(kind, **{name: FIELDS.get(name, DIGESTS) for name in init_names(kind)}) for kind in kinds
    )


def init_names(kind: type[events.Event]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if field.init]


def check(record: Record) -> None:
    bundled = record.state not in (State.QUEUED, State.PARKED, State.QUARANTINED)
    delivered = record.state in (State.COPIED, State.ON_TAPE, State.VERIFIED)
    assert not bundled or record.sha256 is not None
    assert record.task_id is None or record.submission_id is not None
    assert record.read_task_id is None or record.read_submission_id is not None
    assert not delivered or record.task_id is not None or record.submission_id is None, "sent, or found there"
    assert record.state is not State.SUBMITTED or record.task_id is not None
    assert record.state is not State.ON_TAPE or record.residency == "on_tape"
    assert (record.evidence is not None) == (record.state is State.VERIFIED)
    assert (record.resume_at is not None) == (record.state is State.PARKED)
    assert record.state not in (State.PARKED, State.QUARANTINED) or record.reason


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_events_keep_the_invariants(data):
    record = Record(uid="u", collection="local")
    for _ in range(25):
        event = data.draw(an_event(record.state))
        before = record
        try:
            record = apply(record, event)
        except TransitionError:
            continue
        check(record)
        check_evidence(before, event, record)


def check_evidence(before: Record, event: events.Event, after: Record) -> None:
    if after.state is State.VERIFIED and before.state is State.VERIFIED:
        assert event.found_sha256 == before.sha256
    elif after.state is State.VERIFIED and after.evidence is Evidence.RESTORED_SHA256:
        assert (event.found_sha256, event.found_manifest_sha256) == (before.sha256, before.manifest_sha256)
        assert before.read_task_id is not None
    elif after.state is State.VERIFIED:
        assert event.found_md5 == before.md5
    if after.state is State.COPIED and before.state is State.SUBMITTED:
        assert (event.found_size, event.found_manifest_size) == (before.size, before.manifest_size)
        assert event.found_md5 in (None, before.md5)
    if after.state is State.COPIED and before.state is State.QUEUED:
        assert isinstance(event, events.Found)
        assert (event.found_size, event.found_manifest_size) == (after.size, after.manifest_size)
        assert event.found_md5 in (None, after.md5)
    if after.state is State.BUNDLED and before.state is State.SUBMITTED:
        assert after.submission_id is None, "an ended task's id would find the ended task again"


@pytest.mark.parametrize("state", State)
def test_what_the_table_does_not_tell_is_refused(state):
    record = Record(uid="u", collection="local", state=state, resume_at=State.QUEUED)
    if (state, events.ReadAgain) not in TABLE:
        with pytest.raises(TransitionError, match=f"ReadAgain cannot happen in {state}"):
            apply(record, events.ReadAgain(found_sha256="a"))
    with pytest.raises(TransitionError):
        apply(record, events.ReadBack(found_sha256="a", found_manifest_sha256="a"))


def test_every_state_is_reached_and_left_as_declared():
    reached = {transition.to for transition in TABLE.values()}
    assert reached | {State.QUEUED} == {*State, None} - {State.RELEASED}, "RELEASED is a run's"
    assert not [event for state, event in TABLE if state is State.RELEASED]
    assert {event for state, event in TABLE if state is State.VERIFIED} == {
        events.ReadAgain,
        events.FoundWrong,
    }


def test_a_verified_bundle_that_reads_wrong_is_verified_no_more():
    known = {"destination": "b.tar", "sha256": "a", "evidence": Evidence.RESTORED_SHA256, "verified": 1.0}
    record = Record(uid="u", collection="local", state=State.VERIFIED, **known)
    assert apply(record, events.ReadAgain(found_sha256="a")) == record
    parked = apply(record, events.ReadAgain(found_sha256="b"))
    assert (parked.state, parked.needs_person, parked.evidence) == (State.PARKED, True, None)
    assert "was read again with sha256 b, not a" in parked.reason
    assert apply(parked, events.Resumed()).state is State.COPIED


class World(RuleBasedStateMachine):
    """The machine against a destination that loses, cuts and corrupts files, and a driver killed anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.record = Record(uid="u", collection="local")
        self.local: str | None = None
        self.remote: str | None = None
        self.back: str | None = None
        self.tasks: dict[str, bool] = {}  # by submission id: whether it has ended
        self.ids = 0

    def put(self, event: events.Event) -> None:
        self.record = apply(self.record, event)

    def new_id(self) -> str:
        self.ids += 1
        return f"id{self.ids}"

    @rule(lose_answer=st.booleans())
    @precondition(lambda self: instruct(self.record) is not Instruction.REST)
    def work(self, lose_answer: bool) -> None:
        """One instruction is done; with `lose_answer` the process dies before it records what it saw."""
        event = getattr(self, instruct(self.record).name.lower())()
        if not lose_answer:
            self.put(event)
            arrived = isinstance(event, events.Arrived) and self.record.state is State.COPIED
            assert not arrived or len(self.remote) == 4

    def bundle(self):
        self.local = "good"
        return events.Bundled(
            destination="b.tar", size=4, sha256="good", md5="md5", manifest_size=1, manifest_sha256="m"
        )

    def prepare_send(self):
        if self.local is None:
            return events.BundleLost(reason="gone")
        return events.SendPrepared(submission_id=self.new_id())

    def send(self):
        self.tasks.setdefault(self.record.submission_id, False)
        return events.SendAccepted(task_id=self.record.submission_id)

    def poll_send(self):
        if not self.tasks[self.record.task_id]:
            self.tasks[self.record.task_id] = True
            if self.local is None:
                return events.SendFailed(reason="no source")
            if self.remote not in (None, self.local):
                return events.SendRefused(reason="exists with other content")
            self.remote = self.local
        if self.remote is None:
            return events.DestinationMissing(reason="gone")
        return events.Arrived(
            found_size=len(self.remote), found_md5=None, found_manifest_size=1, residency="unknown"
        )

    def prepare_read(self):
        if self.remote is None:
            return events.DestinationMissing(reason="gone")
        return events.ReadPrepared(read_submission_id=self.new_id())

    def read(self):
        self.tasks.setdefault(self.record.read_submission_id, False)
        return events.ReadAccepted(read_task_id=self.record.read_submission_id)

    def poll_read(self):
        self.back = self.remote
        if self.back is None:
            return events.ReadRefused(reason="gone")
        return events.ReadBack(found_sha256=self.back, found_manifest_sha256="m")

    def resume(self):
        return events.Resumed()

    def wait(self):
        """The person comes: what is wrong at the destination is moved away."""
        if self.remote not in (None, "good"):
            self.remote = None
        return events.Resumed()

    @rule(content=st.sampled_from([None, "go", "evil"]))
    @precondition(lambda self: self.record.evidence is None and self.remote is not None)
    def harm_destination(self, content):
        self.remote = content

    @rule()
    def lose_local_bundle(self):
        self.local = None

    @rule(needs_person=st.booleans(), lucky=st.integers(0, 3))
    @precondition(lambda self: (self.record.state, events.Blocked) in TABLE)
    def block(self, needs_person, lucky):
        if lucky == 0:
            self.put(events.Blocked(reason="full", needs_person=needs_person))

    @invariant()
    def never_claims_too_much(self):
        check(self.record)
        if self.record.state is State.VERIFIED:
            assert self.remote == self.back == "good"

    def teardown(self):
        """When the faults end, every record becomes VERIFIED."""
        for _ in range(40):
            if instruct(self.record) is Instruction.REST:
                break
            self.put(getattr(self, instruct(self.record).name.lower())())
        assert self.record.state is State.VERIFIED


World.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestWorld = World.TestCase
