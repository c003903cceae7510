"""What every `FacilityDatabase` must do, as tests that one from a file and one over the network inherit."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

from apsdm_bluesky.errors import ExperimentError
from apsdm_bluesky.experiments import Esaf, FacilityDatabase, Proposal

_UNKNOWN = ("", "0", "no number", "../esafs", "1 OR 1=1", "9" * 300, "\0", "\udcff", "a\nb", "%s{0}$x")


class FacilityConformance:
    """Inherit in a test module and define `make`; pytest collects the rest.

    Subclasses name a beamline that has at least one ESAF and one proposal, a year and a run of theirs, and a
    year and a run in which there was nothing.
    """

    beamline = "simulated"
    year = 2026
    run_name = "2026-3"
    empty_year = 1900
    empty_run = "1900-1"

    def make(self, folder: Path) -> FacilityDatabase:
        """The database under test; it may keep files in `folder`."""
        raise NotImplementedError

    def test_is_a_facility_database(self, tmp_path: Path) -> None:
        """By its methods."""
        _check(isinstance(self.make(tmp_path), FacilityDatabase), "it lacks methods of FacilityDatabase")

    def test_what_is_listed_can_be_looked_up(self, tmp_path: Path) -> None:
        """By its number, and it is the same."""
        facility = self.make(tmp_path)
        esafs, proposals = facility.esafs(self.beamline), facility.proposals(self.beamline)
        _check(esafs and proposals, f"{self.beamline!r} has no ESAF or no proposal")
        for esaf in esafs:
            _check(facility.esaf(esaf.id) == esaf, f"ESAF {esaf.id} differs when it is looked up")
        for proposal in proposals:
            found = facility.proposal(proposal.id, proposal.run)
            _check(found == proposal, f"proposal {proposal.id} differs when it is looked up")

    def test_a_proposal_without_a_run_is_the_latest(self, tmp_path: Path) -> None:
        """One proposal has beam time in several runs."""
        facility = self.make(tmp_path)
        proposals = facility.proposals(self.beamline)
        for proposal in proposals:
            latest = max(one.start for one in proposals if one.id == proposal.id)
            found = facility.proposal(proposal.id)
            _check(found.start >= latest, f"proposal {proposal.id} of run {found.run} is not the latest")

    def test_each_is_listed_once(self, tmp_path: Path) -> None:
        """An ESAF by its number, a proposal by its number and run; the latest first."""
        facility = self.make(tmp_path)
        esafs, proposals = facility.esafs(self.beamline), facility.proposals(self.beamline)
        _check(_distinct([one.id for one in esafs]), "an ESAF is listed twice")
        _check(_distinct([(one.id, one.run) for one in proposals]), "a proposal is listed twice")
        for listed in (esafs, proposals):
            starts = [one.start for one in listed]
            _check(starts == sorted(starts, reverse=True), f"not the latest first: {starts}")

    def test_years_and_runs_restrict(self, tmp_path: Path) -> None:
        """To what goes on then, all of it, and nothing else."""
        facility = self.make(tmp_path)
        every = facility.esafs(self.beamline)
        wanted = [one for one in every if one.start.year <= self.year <= one.end.year]
        _check(wanted and list(facility.esafs(self.beamline, self.year)) == wanted, "the ESAFs of a year")
        in_run = [one for one in facility.proposals(self.beamline) if one.run == self.run_name]
        found = list(facility.proposals(self.beamline, self.run_name))
        _check(in_run and found == in_run, "the proposals of a run")
        _check(not facility.esafs(self.beamline, self.empty_year), "ESAFs of a year without any")
        _check(not facility.proposals(self.beamline, self.empty_run), "proposals of a run without any")

    def test_what_is_told_can_be_used(self, tmp_path: Path) -> None:
        """Numbers are digits, times have no zone and an order, people have badges and names."""
        facility = self.make(tmp_path)
        listed: Sequence[Esaf | Proposal] = [
            *facility.esafs(self.beamline),
            *facility.proposals(self.beamline),
        ]
        for one in listed:
            _check(one.id.isascii() and one.id.isdigit(), f"{one.id!r} is no number")
            _check(one.start.tzinfo is None and one.end.tzinfo is None, f"{one.id}: a time has a zone")
            _check(one.start <= one.end, f"{one.id}: ends before it starts")
            _check(isinstance(one.users, tuple), f"{one.id}: its users are no tuple")
            for user in one.users:
                _check(user.badge and user.last_name, f"{one.id}: somebody has no badge or no name: {user}")
                none = [field.name for field in fields(user) if getattr(user, field.name) is None]
                _check(not none, f"{one.id}: {none} of {user.badge} are None, not ''")
        for proposal in facility.proposals(self.beamline):
            _check(proposal.duration_s >= 0, f"{proposal.id}: its beam time is negative")

    def test_what_is_unknown_is_refused_in_one_line(self, tmp_path: Path) -> None:
        """Whatever is asked for."""
        facility = self.make(tmp_path)
        for number in _UNKNOWN:
            _refuses(lambda number=number: facility.esaf(number))  # type: ignore[misc]
            _refuses(lambda number=number: facility.proposal(number))  # type: ignore[misc]
        proposal = facility.proposals(self.beamline)[0]
        _refuses(lambda: facility.proposal(proposal.id, self.empty_run))

    def test_several_threads_may_ask(self, tmp_path: Path) -> None:
        """They get the same."""
        facility = self.make(tmp_path)
        expected, found = list(facility.esafs(self.beamline)), []
        threads = [
            threading.Thread(target=lambda: found.append(list(facility.esafs(self.beamline))))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        _check(found == [expected] * 8, "threads got something else")


def _distinct(names: Sequence[object]) -> bool:
    return len(set(names)) == len(names)


def _refuses(call: Callable[[], object]) -> None:
    try:
        found = call()
    except ExperimentError as error:
        _check(str(error) and "\n" not in str(error), f"not told in one line: {error}")
        return
    raise AssertionError(f"was found: {found}")


def _check(condition: object, message: str) -> None:
    if not condition:
        raise AssertionError(message)
