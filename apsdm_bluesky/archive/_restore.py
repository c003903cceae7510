"""What is asked of the archive: runs or files of them back, or to read a run's bundles again."""

import difflib
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

from apsdm_bluesky.errors import ApsdmError

from ._events import Resumed
from ._ledger import Ledger
from ._machine import TransitionError
from ._manifests import Manifests
from ._reading import Purpose, Reading, ReadingState
from ._reading_events import Cancelled
from ._record import Record, State
from ._selection import DOCUMENTS, named_members


def request_restore(
    ledger: Ledger,
    run: str,
    members: Sequence[str] | None = None,
    target: Path | None = None,
    *,
    actor: str,
    archive: Path,
) -> str:
    """Ask for a run, or for files of it. The agent does it.

    Parameters
    ----------
    members
        Names in the run's bundles, of files or of folders of them; None: all of the run.
    target
        An absolute folder that gets the files, by their names in the bundle; None: their recorded places,
        where the run's documents are not put: they are in the spool.
    archive
        The archive's folder: the manifests in it tell which bundles are needed.

    Returns
    -------
    The job's id.

    Raises
    ------
    ApsdmError
        The run cannot be restored now, or has no such members; the message says why.
    """
    bundles = _verified_bundles(ledger, run, "restored")
    if target is not None and not target.is_absolute():
        raise ApsdmError(f"{target}: is no absolute path; give the whole one")
    if members is not None:
        bundles = _holding(bundles, members, Manifests(archive), in_place=target is None)
    return _ask(
        ledger,
        bundles,
        actor,
        purpose=Purpose.RESTORE,
        run=run,
        members=None if members is None else tuple(members),
        target=None if target is None else str(target.resolve()),
    )


def request_verify(ledger: Ledger, run: str, *, actor: str) -> str:
    """Ask that a run's bundles be read again: their evidence is renewed, or they are verified no more.

    Returns
    -------
    The job's id.

    Raises
    ------
    ApsdmError
        The run is not verified now; the message says why.
    """
    return _ask(ledger, _verified_bundles(ledger, run, "verified"), actor, purpose=Purpose.VERIFY, run=run)


def request_readings(ledger: Ledger, bundles: Iterable[Record], purpose: Purpose, *, actor: str) -> str:
    """Ask that these bundles be read, for nobody's run; returns the job's id."""
    return _ask(ledger, bundles, actor, purpose=purpose)


def resume_job(ledger: Ledger, job: str, *, actor: str) -> Sequence[Reading]:
    """Have the parked readings of a job tried again; returns them."""
    parked = [one for one in ledger.readings.job(job) if one.state is ReadingState.PARKED]
    return [ledger.readings.apply(one.uid, Resumed(), actor=actor) for one in parked]


def cancel_job(ledger: Ledger, job: str, *, actor: str) -> Sequence[Reading]:
    """Give up the readings of a job that have not ended; returns them. Files that are back stay."""
    reason = f"cancelled by {actor}"
    unfinished = [one for one in ledger.readings.job(job) if not one.ended]
    return [ledger.readings.apply(one.uid, Cancelled(reason=reason), actor=actor) for one in unfinished]


def _verified_bundles(ledger: Ledger, run: str, wanted: str) -> Sequence[Record]:
    entry = ledger.runs.get(run)
    if entry is None:
        raise ApsdmError(f"run {run}: the archive knows none")
    bundles = ledger.bundles_of(run)
    if entry.state not in (State.VERIFIED, State.RELEASED) or not bundles:
        reason = f": {entry.reason}" if entry.reason else ""
        raise ApsdmError(f"run {run}: is {entry.state}, only a verified run is {wanted}{reason}")
    return bundles


def _holding(
    bundles: Sequence[Record], names: Sequence[str], manifests: Manifests, *, in_place: bool
) -> Sequence[Record]:
    """The bundles that hold any of `names`, and those whose manifest must be fetched to tell."""
    documents = [name for name in names if name.startswith(DOCUMENTS)]
    if in_place and documents:
        raise ApsdmError(f"{documents[0]}: documents are restored to a folder only; give one with --to")
    known = {record.uid: manifests.read(record) for record in bundles}
    found = {uid: manifest is None or bool(named_members(manifest, names)) for uid, manifest in known.items()}
    for name in names:
        if not any(manifest is None or named_members(manifest, [name]) for manifest in known.values()):
            held = [member.path for manifest in known.values() if manifest for member in manifest.members]
            near = difflib.get_close_matches(name, held, n=1) or held[:1] or ["none at all"]
            raise ApsdmError(f"{name}: its bundles have no such member; they have {near[0]}, for instance")
    return [record for record in bundles if found[record.uid]]


def _ask(
    ledger: Ledger,
    bundles: Iterable[Record],
    actor: str,
    *,
    purpose: Purpose,
    run: str | None = None,
    members: tuple[str, ...] | None = None,
    target: str | None = None,
) -> str:
    job = uuid.uuid4().hex
    asked = [
        Reading(
            uid=f"{job}-{number:04}",
            job=job,
            purpose=purpose,
            bundle=record.uid,
            run=run,
            members=members,
            target=target,
        )
        for number, record in enumerate(bundles, 1)
    ]
    try:
        ledger.readings.add(asked, actor=actor)
    except TransitionError as error:
        raise ApsdmError(str(error)) from error
    return job
