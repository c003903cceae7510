"""An agent killed at random moments: `make campaign [SEED=1] [KILLS=200] [RUNS=50] [MOVER=local|globus]`.

After each kill what must hold of an archive is looked at, and at the end the whole of it. The random moments
are those of the seed; what the agent has done by then is the machine's. Exit code 1, with what was wrong.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from apsdm_bluesky.archive import Ledger, State
from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.sim import GlobusProcess
from tests.archive.agents import Agents, CommandAgents, ForkedAgents
from tests.archive.invariants import Inspector, Seen
from tests.archive.samples import SampleBeamline
from tests.archive.workload import BUNDLE_BYTES, Workload
from tests.globus import config_of
from tests.waiting import wait_for

WAIT_S = 0.5  # a small run's for company
LONGEST_S = 15.0  # that a state to be killed at is waited for
END_S = 300.0
OFFERED_BY = 0.9  # of the kills, the last run is there


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a campaign does; `startup_s` is how long an agent takes to begin its work."""

    kills: int
    runs: int
    seed: int
    startup_s: float


@dataclass(slots=True)
class Report:
    """What came of it."""

    kills: int = 0
    idle_kills: int = 0
    """Kills when all runs that were offered were verified."""
    standin_kills: int = 0
    runs: int = 0
    bundles: int = 0
    shared_bundles: int = 0
    bundles_in_parts: int = 0
    transitions: int = 0
    states: dict[str, int] = field(default_factory=dict)
    """How many bundles were seen in each state after the kills."""
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Campaign:
    """Kills agents on one state folder.

    Parameters
    ----------
    standin
        Globus, where that is the destination; it is killed, too.
    """

    def __init__(
        self, plan: Plan, sample: SampleBeamline, agents: Agents, tape: Path, standin: GlobusProcess | None
    ) -> None:
        self._plan = plan
        self._sample = sample
        self._agents = agents
        self._standin = standin
        self._rng = random.Random(plan.seed)
        self._work = Workload(sample, self._rng, plan.runs)
        folders = sample.folders
        self._inspector = Inspector(folders.archive, tape, folders.root.parent / "scratch")
        self.report = Report()

    def run(self) -> Report:
        """Kill, look, and go on, to the end."""
        begin = time.monotonic()
        for number in range(self._plan.kills):
            self._offer(number)
            self._agents.start(self._sample.config)
            self._wait_for_the_moment()
            self._agents.kill()
            self.report.kills += 1
            self._check(number)
        self._work.finish()
        self._bring_to_an_end()
        self.report.seconds = time.monotonic() - begin
        return self.report

    def _offer(self, number: int) -> None:
        due = 1 + int(number / (OFFERED_BY * self._plan.kills) * self._plan.runs)
        while self._work.offered < min(due, self._plan.runs):
            self._work.offer()

    def _wait_for_the_moment(self) -> None:
        """By the clock, or by what the ledger shows; sometimes the destination's service is killed first."""
        if self._rng.random() < 0.5:
            _pause(self._rng.uniform(0, self._plan.startup_s + 0.5))
        else:
            self._wait_for_transitions(self._rng.randint(1, 4))
            _pause(self._rng.uniform(0, 0.05))
        if self._standin is not None and self._rng.random() < 0.15:
            self._standin.kill()
            self.report.standin_kills += 1
            _pause(self._rng.uniform(0, 0.5))
            self._standin.start()
            _pause(self._rng.uniform(0, 0.5))

    def _wait_for_transitions(self, count: int) -> None:
        before, end = self._transitions(), time.monotonic() + LONGEST_S
        while self._transitions() < before + count and time.monotonic() < end and not self._idle():
            _pause(0.01)

    def _transitions(self) -> int:
        with self._ledger() as ledger, ledger.database.read() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM transitions").scalar_one())

    def _idle(self) -> bool:
        with self._ledger() as ledger:
            states = {entry.uid: entry.state for entry in ledger.runs.list()}
        return all(states.get(uid) is State.VERIFIED for uid in self._work.uids)

    @contextmanager
    def _ledger(self) -> Iterator[Ledger]:
        ledger = Ledger(self._sample.folders.archive)
        try:
            yield ledger
        finally:
            ledger.close()

    def _check(self, number: int) -> None:
        if not (self._sample.folders.archive / "ledger.sqlite").exists():
            return  # killed before it made one
        try:
            seen = self._inspector.look()
        except StorageError as error:
            self.report.faults.append(f"after kill {number}: the ledger cannot be read: {error}")
            return
        self._note(seen)
        faults = [*self._inspector.faults(seen), *self._work.changed()]
        self.report.faults += [f"after kill {number}: {fault}" for fault in faults]

    def _note(self, seen: Seen) -> None:
        for record in seen.records:
            name = record.state.value
            self.report.states[name] = self.report.states.get(name, 0) + 1
        done = {uid for uid, state in seen.runs.items() if state is State.VERIFIED}
        self.report.idle_kills += done == set(self._work.uids)

    def _bring_to_an_end(self) -> None:
        self._agents.start(self._sample.config)
        try:
            wait_for(lambda: self._begun() and self._idle(), END_S, "that every run is verified")
        except AssertionError as error:
            self.report.faults.append(str(error))
        code = self._agents.end()
        seen = self._inspector.look()
        faults = list(self._inspector.faults_at_the_end(seen, self._work.uids))
        if code:
            faults.append(f"the last agent ended with {code}")
        faults += [*self._work.changed(), *self._work.changed_content()]
        self.report.faults += [f"at the end: {fault}" for fault in faults]
        self.report.runs, self.report.bundles = len(seen.runs), len(seen.records)
        self.report.shared_bundles = sum(len(record.runs) > 1 for record in seen.records)
        self.report.bundles_in_parts = sum(record.parts > 1 for record in seen.records)
        self.report.transitions = seen.transitions

    def _begun(self) -> bool:
        return (self._sample.folders.archive / "ledger.sqlite").exists()


def campaign(plan: Plan, folder: Path, *, mover: str, forked: bool) -> Report:
    """A campaign in `folder`, which it fills."""
    with ExitStack() as stack:
        settings = {"bundle_gb": BUNDLE_BYTES / 1e9, "bundle_wait_s": WAIT_S}
        standin, tape, environment = None, folder / "home" / "tape", {}
        if mover == "globus":
            standin = stack.enter_context(GlobusProcess(folder / "globus", local=folder))
            environment = {name: f"{url}/" for name, url in standin.environment.items()}
            settings["globus"] = config_of(standin, folder)
            tape = standin.root("tape") / folder.name
        sample = SampleBeamline(folder / "home", **settings)
        stack.callback(sample.session.close)
        kind = ForkedAgents if forked else CommandAgents
        agents = kind(folder / "agent.log", environment)
        stack.callback(agents.close)
        return Campaign(plan, sample, agents, tape, standin).run()


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def main() -> int:
    """Run a campaign from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.archive.campaign", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--mover", choices=["local", "globus"], default="local")
    parser.add_argument("--forked", action="store_true", help="agents are forks of one process: quicker")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work there, and leave all as it is")
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.kills} kills over {options.runs} runs, {options.mover}", flush=True)
    plan = Plan(
        kills=options.kills,
        runs=options.runs,
        seed=options.seed,
        startup_s=0.1 if options.forked else 2.0,
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        report = campaign(plan, folder, mover=options.mover, forked=options.forked)
    print(f"seed {options.seed}: {report}")
    print("\n".join(report.faults) or "nothing was wrong")
    return int(bool(report.faults))


if __name__ == "__main__":
    sys.exit(main())
