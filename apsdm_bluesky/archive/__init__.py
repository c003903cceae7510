"""The archive: bundles, the state machine of each one, the ledger, and the driver of them all."""

from ._archiver import WORKING, Archiver
from ._bundle import MANIFEST_SUFFIX, Bundle, Contents, make_bundle, manifest_path
from ._drills import DrillReport, DrillSchedule, drill_report, request_drill, share_below
from ._events import Resumed
from ._expiry import Expiring, ExpiryWatch, expiring, expiring_of
from ._history import TransitionEntry
from ._ledger import Ledger
from ._local_copy import LocalCopy, ReleaseAsked
from ._lock import AgentLock
from ._machine import TABLE, TransitionError, apply, next_instruction
from ._manifest import decode_manifest, encode_manifest
from ._manifest_files import ManifestFiles
from ._member import copy_member
from ._planner import Planner
from ._progress import progress_of
from ._reader import Reader
from ._reading import Purpose, Reading, ReadingState
from ._reading_steps import ReadingSteps
from ._rebuild import Entered, Rebuild, RebuildReport
from ._record import Evidence, Instruction, Record, State
from ._release import Releases
from ._release_facts import Verdicts
from ._release_rules import Verdict, verdict
from ._requests import Requests
from ._restore import cancel_job, request_restore, request_verify, resume_job
from ._runs import RunEntry, RunFilter
from ._sources import SourceError
from ._steps import ArchivePlaces, Steps
from ._tombstone import Tombstone, find_tombstone, read_tombstone, remove_tombstone

__all__ = [
    "MANIFEST_SUFFIX",
    "TABLE",
    "WORKING",
    "AgentLock",
    "ArchivePlaces",
    "Archiver",
    "Bundle",
    "Contents",
    "DrillReport",
    "DrillSchedule",
    "Entered",
    "Evidence",
    "Expiring",
    "ExpiryWatch",
    "Instruction",
    "Ledger",
    "LocalCopy",
    "ManifestFiles",
    "Planner",
    "Purpose",
    "Reader",
    "Reading",
    "ReadingState",
    "ReadingSteps",
    "Rebuild",
    "RebuildReport",
    "Record",
    "ReleaseAsked",
    "Releases",
    "Requests",
    "Resumed",
    "RunEntry",
    "RunFilter",
    "SourceError",
    "State",
    "Steps",
    "Tombstone",
    "TransitionEntry",
    "TransitionError",
    "Verdict",
    "Verdicts",
    "apply",
    "cancel_job",
    "copy_member",
    "decode_manifest",
    "drill_report",
    "encode_manifest",
    "expiring",
    "expiring_of",
    "find_tombstone",
    "make_bundle",
    "manifest_path",
    "next_instruction",
    "progress_of",
    "read_tombstone",
    "remove_tombstone",
    "request_drill",
    "request_restore",
    "request_verify",
    "resume_job",
    "share_below",
    "verdict",
]
