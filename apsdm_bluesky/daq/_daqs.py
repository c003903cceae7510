"""DAQs and uploads for people who work in Python: `session.daqs`."""

import html
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from apsdm_bluesky.errors import DaqError
from apsdm_bluesky.texts import plain, shortened

from ._daq import Daq, DaqFile, DaqOptions, DaqState, FileState, Kind, NewDaq
from ._report import counts_text, not_taken
from ._store import ACTIVE, DaqStore

_POLL_S = 0.5
_SHOWN = 10
_HEADINGS = ("id", "kind", "experiment", "state", "source", "files", "reason")
_LONGEST = 60  # characters of a cell


class Place(Protocol):
    """An experiment that files are brought into."""

    @property
    def name(self) -> str:
        """Of the experiment."""

    @property
    def station(self) -> str:
        """Where it is done."""

    @property
    def root(self) -> Path:
        """Its folder."""


class Daqs:
    """Starts DAQs and uploads and tells of them. Raises `StorageError` and `ServiceError` as `DaqStore` does.

    The agent does the work: without one (`apsdm up`, `apsdm agent`) files wait.

    Parameters
    ----------
    owner
        Whose the DAQs are that are started here.
    experiment
        The experiment of a name; without one, that which goes on.
    workflow
        Owner and name of the workflow that a text means.
    """

    def __init__(
        self,
        store: DaqStore,
        *,
        owner: str,
        experiment: Callable[[str | None], Place],
        workflow: Callable[[str], tuple[str, str]],
    ) -> None:
        self._store = store
        self._owner = owner
        self._experiment = experiment
        self._workflow = workflow

    def start(self, folder: Path | str, /, experiment: str | None = None, **options: Any) -> str:
        """Have a folder watched; returns the DAQ's id.

        Parameters
        ----------
        experiment
            Default: the current one.
        options
            Fields of `DaqOptions`.

        Raises
        ------
        DaqError, ExperimentError, WorkflowError
            It cannot be as it is asked for; the experiment or the workflow is not known.
        """
        return self._begin(Kind.DAQ, folder, experiment, options)

    def upload(self, path: Path | str, /, experiment: str | None = None, **options: Any) -> str:
        """Have a folder or a file taken as it is now; returns the upload's id. As `start`."""
        return self._begin(Kind.UPLOAD, path, experiment, options)

    def get(self, uid: str) -> Daq:
        """The DAQ or upload whose id begins with `uid`; `DaqError` where there is none, or more than one."""
        return self._store.get(uid)

    def list(self, **wanted: Any) -> "DaqTable":
        """DAQs and uploads, the latest first; `wanted` as of `DaqStore.list`."""
        return DaqTable(tuple(self._store.list(**wanted)))

    def files(self, uid: str, *states: FileState | str, limit: int | None = None) -> "Sequence[DaqFile]":
        """Its files, those in these states: `files(uid, "failed", "skipped")`."""
        return self._store.files(self.get(uid).id, states=[FileState(one) for one in states], limit=limit)

    def stop(self, uid: str) -> Daq:
        """Have it look for no new files, and bring what it has seen to its end."""
        return self._store.stop(uid, actor=self._owner)

    def cancel(self, uid: str) -> Daq:
        """Have it end at once; what it has taken stays taken."""
        return self._store.cancel(uid, actor=self._owner)

    def wait(self, uid: str, timeout_s: float | None = None) -> Daq:
        """The DAQ or upload when it has ended, and every file was taken.

        Raises
        ------
        DaqError
            Some were not, it was cancelled, or it has not ended in time.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (daq := self.get(uid)).state in ACTIVE:
            if deadline is not None and time.monotonic() > deadline:
                raise DaqError(
                    f"{daq.kind} {daq.id} is {daq.state} after {timeout_s:g} s: does the agent run?"
                )
            time.sleep(_POLL_S)
        check_end(daq)
        return daq

    def _begin(self, kind: Kind, source: Path | str, experiment: str | None, options: dict[str, Any]) -> str:
        wanted = DaqOptions(**_tuples(options))
        if wanted.workflow is not None and wanted.workflow_owner is None:
            owner, name = self._workflow(wanted.workflow)
            wanted = replace(wanted, workflow_owner=owner, workflow=name)
        new = new_daq(kind, Path(source), self._experiment(experiment), wanted, owner=self._owner)
        return self._store.start(new, actor=self._owner).id

    def __repr__(self) -> str:
        return repr(self.list(limit=_SHOWN))

    def _repr_html_(self) -> str:
        return self.list(limit=_SHOWN)._repr_html_()


@dataclass(frozen=True, slots=True)
class DaqTable(Sequence[Daq]):
    """DAQs and uploads; IPython and Jupyter show them as a table."""

    daqs: tuple[Daq, ...]

    def __len__(self) -> int:
        return len(self.daqs)

    def __getitem__(self, index: Any) -> Any:
        return self.daqs[index]

    def __repr__(self) -> str:
        if not self.daqs:
            return "no DAQs and uploads"
        rows = [_HEADINGS, *(_row(daq) for daq in self.daqs)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
        lines = (zip(row, widths, strict=True) for row in rows)
        return "\n".join("  ".join(f"{cell:{width}}" for cell, width in line).rstrip() for line in lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{heading}</th>" for heading in _HEADINGS)
        rows = ("".join(f"<td>{html.escape(cell)}</td>" for cell in _row(daq)) for daq in self.daqs)
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def new_daq(kind: Kind, source: Path, experiment: Place, options: DaqOptions, *, owner: str) -> NewDaq:
    """What `DaqStore.start` takes, of a path as a person writes it: relative, with `~` or `..`."""
    source = source.expanduser().absolute()
    return NewDaq(
        kind=kind,
        experiment=experiment.name,
        station=experiment.station,
        source=source.resolve() if ".." in source.parts else source,  # else links stay: they may move on
        root=experiment.root,
        owner=owner,
        options=options,
    )


def check_end(daq: Daq) -> None:
    """Tell by an error that something which ended has not taken every file.

    Of an upload each file counts that is not taken. Of a DAQ those that could not be: detectors write files
    that they rename, and these vanish.

    Raises
    ------
    DaqError
        How many, and how it ended.
    """
    missing = not_taken(daq.counts) if daq.kind is Kind.UPLOAD else daq.counts.failed
    if missing or daq.state in (DaqState.FAILED, DaqState.ABORTED):
        why = f": {plain(daq.reason)}" if daq.reason else ""
        raise DaqError(
            f"{daq.kind} {daq.id} {daq.state}{why}; {missing} of its files were not taken; "
            f"see 'apsdm daq show {daq.id[:8]}'"
        )


def _tuples(options: dict[str, Any]) -> dict[str, Any]:
    """Patterns may be given as one text, or as any sequence."""
    given = dict(options)
    for name in ("include", "exclude"):
        if name in given:
            value = given[name]
            given[name] = (value,) if isinstance(value, str) else tuple(value)
    return given


def _row(daq: Daq) -> tuple[str, ...]:
    cells = (
        daq.id[:8],
        daq.kind,
        daq.experiment,
        daq.state,
        str(daq.source),
        counts_text(daq.counts),
        daq.reason,
    )
    return tuple(shortened(cell, _LONGEST) for cell in cells)
