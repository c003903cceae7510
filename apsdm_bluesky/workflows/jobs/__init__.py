"""Jobs: one run of a workflow each, kept with all its stages and processes."""

from ._compare import Difference, compare
from ._definitions import Definitions
from ._driver import Driver
from ._job import ENDED, Attempt, Job, StageEntry, State
from ._loop import JobLoop
from ._output import OutputFile, shown
from ._publish import tidy
from ._reader import HistoryEntry, JobFilter
from ._report import JobReport, status_text
from ._requests import TriggerRequests
from ._retention import Retention
from ._store import JobStore, StaleError
from ._workflows import JobTable, Workflows, has_ended_well

__all__ = [
    "ENDED",
    "Attempt",
    "Definitions",
    "Difference",
    "Driver",
    "HistoryEntry",
    "Job",
    "JobFilter",
    "JobLoop",
    "JobReport",
    "JobStore",
    "JobTable",
    "OutputFile",
    "Retention",
    "StageEntry",
    "StaleError",
    "State",
    "TriggerRequests",
    "Workflows",
    "compare",
    "has_ended_well",
    "shown",
    "status_text",
    "tidy",
]
