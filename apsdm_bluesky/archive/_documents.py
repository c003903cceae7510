"""The documents in a tar: which runs it holds, and which files are theirs."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from pathlib import Path

from apsdm_bluesky.errors import FormatError, StorageError
from apsdm_bluesky.model import ArchivedRun, BundleMember
from apsdm_bluesky.spool import RunFile

from ._births import Births
from ._bundle import archived_run
from ._member import copy_member
from ._names import printable
from ._sources import is_of, referred_paths

_LONGEST_LINE = 64 * 2**20  # bytes of one document
_CHUNK = 2**20


class DocumentsInTar:
    """The runs whose documents are members of a tar, the run `first` first.

    Parameters
    ----------
    roots
        Folders that raw files may have come from.
    scratch
        A folder to copy documents to; a file at a time, which is removed again.

    Raises
    ------
    FormatError
        Documents that cannot be read as such.
    """

    def __init__(
        self,
        tar: Path,
        members: Sequence[BundleMember],
        scratch: Path,
        *,
        roots: Sequence[Path] = (),
        first: str,
    ) -> None:
        self._roots = [root.resolve() for root in roots]
        self.runs: tuple[ArchivedRun, ...] = ()
        self._paths: dict[str, Set[Path]] = {}
        self._births: list[Births] = []
        for member in members:
            if member.path.startswith("documents/"):
                self._take(tar, member, scratch)
        self.runs = tuple(sorted(self.runs, key=lambda run: (run.uid != first, _time(run), run.uid)))

    def described(self, member: BundleMember) -> BundleMember:
        """The member with whose it is, where it came from, and its hash at birth.

        Raises
        ------
        SourceError
            It is not what was written.
        """
        if member.path.startswith("documents/"):
            return replace(member, runs=(Path(member.path).stem,))
        for births in self._births:
            member = births.checked(member)
        name = member.path.partition("/")[2]
        for place in (Path(member.source), *(root / name for root in self._roots)):
            if runs := tuple(uid for uid, paths in self._paths.items() if is_of(place, paths)):
                return replace(member, source=str(place), runs=runs)
        return replace(member, runs=())

    def _take(self, tar: Path, member: BundleMember, scratch: Path) -> None:
        uid = Path(member.path).stem
        copy = scratch / "documents.jsonl"
        try:
            with copy.open("wb") as target:
                copy_member(tar, member, target, lambda _: None)
            for _ in _long_lines(copy):
                raise FormatError(f"{member.path}: has a document of more than {_LONGEST_LINE >> 20} MiB")
            run = RunFile(copy, uid)
            self.runs = (*self.runs, archived_run(run))
            self._paths[uid] = referred_paths(run)
            self._births.append(Births([run]))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError, StorageError) as error:
            raise FormatError(f"{member.path}: is no run's documents ({printable(error)})") from error
        finally:
            copy.unlink(missing_ok=True)


def _long_lines(path: Path) -> Iterator[int]:
    """The lengths of lines that are too long to be read."""
    length = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            first, *others = chunk.split(b"\n")
            length = len(others[-1]) if others else length + len(first)
            if length > _LONGEST_LINE:
                yield length


def _time(run: ArchivedRun) -> float:
    time = run.start.get("time")
    return float(time) if isinstance(time, int | float) else 0.0
