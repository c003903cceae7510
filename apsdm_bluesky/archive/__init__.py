"""The archive: bundles, the state machine of each one, the ledger, and the driver of them all."""

from ._archiver import WORKING, Archiver
from ._bundle import MANIFEST_SUFFIX, Bundle, Contents, make_bundle, manifest_path
from ._events import Resumed
from ._history import TransitionEntry
from ._ledger import Ledger
from ._local_copy import LocalCopy
from ._lock import AgentLock
from ._machine import TABLE, TransitionError, apply, next_instruction
from ._manifest import decode_manifest, encode_manifest
from ._member import copy_member
from ._planner import Planner
from ._progress import progress_of
from ._rebuild import Entered, Rebuild, RebuildReport
from ._record import Evidence, Instruction, Record, State
from ._requests import Requests
from ._runs import RunEntry, RunFilter
from ._sources import SourceError
from ._steps import ArchivePlaces, Steps

__all__ = [
    "MANIFEST_SUFFIX",
    "TABLE",
    "WORKING",
    "AgentLock",
    "ArchivePlaces",
    "Archiver",
    "Bundle",
    "Contents",
    "Entered",
    "Evidence",
    "Instruction",
    "Ledger",
    "LocalCopy",
    "Planner",
    "Rebuild",
    "RebuildReport",
    "Record",
    "Requests",
    "Resumed",
    "RunEntry",
    "RunFilter",
    "SourceError",
    "State",
    "Steps",
    "TransitionEntry",
    "TransitionError",
    "apply",
    "copy_member",
    "decode_manifest",
    "encode_manifest",
    "make_bundle",
    "manifest_path",
    "next_instruction",
    "progress_of",
]
