"""What is done with a bundle that was fetched: its files are put in their places, or compared."""

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from apsdm_bluesky.errors import ApsdmError, FormatError
from apsdm_bluesky.model import BundleMember, Manifest
from apsdm_bluesky.spool import RunFile

from ._events import Event
from ._manifest import decode_manifest
from ._member import copy_member
from ._publish import (
    InTheWayError,
    MemberDiffersError,
    Place,
    named_place,
    publish,
    recorded_place,
    remove_part,
)
from ._reading import Purpose, Reading, ReadingState
from ._reading_events import Checked, Published
from ._record import Record
from ._scratch import Scratch
from ._selection import DOCUMENTS, members_of_run, named_members
from ._tombstone import SUFFIX, covering, read_tombstone, remove_tombstone

log = logging.getLogger(__name__)

_DRILL_MEMBERS = 8

Progress = Callable[[int], None]


class WrongContentError(Exception):
    """The bundle has not what its manifest says."""


class ReadingContent:
    """The bundles in `scratch`; files are put back under `roots` only, unless a folder is named."""

    def __init__(self, scratch: Scratch, roots: Sequence[Path]) -> None:
        self._scratch = scratch
        self._roots = roots

    def publish(self, reading: Reading, record: Record, progress: Progress) -> Event:
        """Put every file in its place; what is in the way of one does not hinder the others.

        Raises
        ------
        InTheWayError
            Some could not be put there.
        WrongContentError
            A member is not what the manifest says.
        FormatError
            A place is refused.
        OSError
            A file cannot be written.
        """
        tar = self._scratch.files(reading, record)[0]
        planned = self._planned(reading, record)
        in_the_way: list[InTheWayError] = []
        written = 0
        for member, place, part in planned:
            try:
                with _blaming():
                    written += publish(tar, member, place, part, progress)
            except InTheWayError as error:
                in_the_way.append(error)
        if in_the_way:
            more = f" ({len(in_the_way)} files are in the way)" if len(in_the_way) > 1 else ""
            raise InTheWayError(f"{in_the_way[0]}{more}")
        total = sum(member.size for member, _, _ in planned)
        return Published(written=written, adopted=len(planned) - written, bytes=total)

    def check(self, reading: Reading, record: Record, progress: Progress) -> Event:
        """Compare members with the manifest: all of them, or some at random for a drill.

        Raises
        ------
        WrongContentError
            A member is not what the manifest says.
        """
        tar = self._scratch.files(reading, record)[0]
        members: Sequence[BundleMember] = self._manifest(reading, record).members
        if reading.purpose is Purpose.DRILL:
            members = _some(members, reading.uid)
        for member in members:
            with _blaming():
                _compare(tar, member, progress)
        return Checked(compared=len(members))

    def leave(self, reading: Reading, record: Record) -> None:
        """Remove the tar of a reading that has ended, and what it left beside its places."""
        files = self._scratch.files(reading, record)
        if reading.state is ReadingState.CANCELLED and all(path.is_file() for path in files):
            try:
                for _, place, part in self._planned(reading, record):
                    remove_part(place, part)
            except ApsdmError as error:  # then there are no places, and nothing was written
                log.info("reading %s: %s", reading.uid, error)
        files[0].unlink(missing_ok=True)

    def unmark(self, reading: Reading, record: Record) -> None:
        """Remove the tombstones of a run all of whose files are back; nothing where that was done.

        Raises
        ------
        OSError
            One cannot be removed.
        """
        if not self._scratch.files(reading, record)[1].is_file():
            return
        stones = {stone for _, place, _ in self._planned(reading, record) for stone in covering(place.path)}
        for stone in sorted(stones):
            if os.path.lexists(stone) and read_tombstone(stone).run == reading.run:
                remove_tombstone(stone.with_name(stone.name.removesuffix(SUFFIX)))

    def _planned(self, reading: Reading, record: Record) -> list[tuple[BundleMember, Place, str]]:
        """Each member with its place, and the name of its part file."""
        members = self._wanted(reading, record)
        if reading.target is None:
            members = [member for member in members if not member.path.startswith(DOCUMENTS)]
            places = [recorded_place(member, self._roots) for member in members]
        else:
            places = [named_place(member, Path(reading.target)) for member in members]
        parts = (f".{reading.uid}-{number}.part" for number in range(len(members)))
        return list(zip(members, places, parts, strict=False))

    def _wanted(self, reading: Reading, record: Record) -> Sequence[BundleMember]:
        manifest = self._manifest(reading, record)
        if reading.members is not None:
            return named_members(manifest, reading.members)
        tar = self._scratch.files(reading, record)[0]

        def documents(member: BundleMember) -> RunFile:
            place = named_place(member, self._scratch.folder(reading))
            with _blaming():
                publish(tar, member, place, ".documents.part", _ignore)
            return RunFile(place.path, str(reading.run))

        return members_of_run(manifest, str(reading.run), documents)

    def _manifest(self, reading: Reading, record: Record) -> Manifest:
        try:
            return decode_manifest(self._scratch.files(reading, record)[1].read_bytes())
        except FormatError as error:
            raise WrongContentError(f"the manifest of {record.destination}: {error}") from error


@contextlib.contextmanager
def _blaming() -> Iterator[None]:
    """What is wrong with a member is wrong with its bundle."""
    try:
        yield
    except (MemberDiffersError, FormatError) as error:
        raise WrongContentError(str(error)) from error


def _compare(tar: Path, member: BundleMember, progress: Progress) -> None:
    with Path(os.devnull).open("wb") as nowhere:
        found = copy_member(tar, member, nowhere, progress)
    if found != member.sha256:
        raise MemberDiffersError(f"{member.path!r} has sha256 {found}, not {member.sha256}")


def _some(members: Sequence[BundleMember], uid: str) -> Sequence[BundleMember]:
    """A few at random; the same ones when an interrupted check is done again."""
    seed = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:8])
    count = min(_DRILL_MEMBERS, len(members))
    chosen = np.random.default_rng(seed).choice(len(members), count, replace=False)
    return [members[index] for index in chosen]


def _ignore(_: int) -> None:
    """Documents are small."""
