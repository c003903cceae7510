"""What a DM client asks of a DAQ or an upload: the keys of its `taskInfo`, and what they are here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from apsdm_bluesky.daq import DaqOptions, Kind

_LONGEST_H = 10_000.0
_UPLOAD_ONLY = ("experimentFilePath",)
_DAQ_ONLY = (
    "maxRunTimeInHours",
    "processExistingFiles",
    "uploadDataDirectoryOnExit",
    "uploadDestDirectoryOnExit",
)
_BOTH = (
    "destDirectory",
    "excludeFileExtensions",
    "filePathPattern",
    "includeFileExtensions",
    "processHiddenFiles",
    "removeSourceFiles",
    "skipCatalog",
    "skipChecksum",
    "skipFilePathPattern",
    "skipTransfer",
    "useAnalysisDirectoryAsRoot",
    "workflowArgs",
    "workflowJobOwner",
    "workflowName",
    "workflowOwner",
)
# What DM does and we do not, with the reason.
_NOT_HERE = {
    "removeSourceFiles": "a DAQ removes nothing here; leave it out",
    "useAnalysisDirectoryAsRoot": "files go to the experiment's data here; leave it out",
}


class TaskInfo:
    """What was asked for.

    Parameters
    ----------
    given
        The mapping that came.
    kind
        DAQs and uploads have other keys.

    Raises
    ------
    HTTPException
        400: a key is not known, or asks for what there is not.
    """

    def __init__(self, given: Mapping[str, Any], kind: Kind) -> None:
        self._given = given
        self._kind = kind
        known = sorted((*_BOTH, *(_DAQ_ONLY if kind is Kind.DAQ else _UPLOAD_ONLY)))
        for key in given:
            if key not in known:
                raise _bad(key, f"is not known here; known are {', '.join(known)}")
        for key, reason in _NOT_HERE.items():
            if self._truth(key):
                raise _bad(key, reason)

    @property
    def job_owner(self) -> str | None:
        """Whose the jobs are to be."""
        return self._text("workflowJobOwner")

    @property
    def workflow(self) -> str | None:
        """The workflow that is started for each file."""
        return self._text("workflowName")

    @property
    def workflow_owner(self) -> str | None:
        """Whose that workflow is."""
        return self._text("workflowOwner")

    def source(self, folder: Path) -> Path:
        """The folder, or the single file in it that is asked for."""
        name = self._text("experimentFilePath")
        if name is None:
            return folder
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise _bad("experimentFilePath", "give a path below the folder")
        return folder / name

    def options(self, folder: Path, workflow_owner: str) -> DaqOptions:
        """All of it.

        Parameters
        ----------
        folder
            The one that is to be taken.
        workflow_owner
            Whose the workflow is, if there is one.
        """
        destination = self._text("destDirectory") or ""
        if self._text("uploadDestDirectoryOnExit") not in (None, destination):
            raise _bad("uploadDestDirectoryOnExit", "files go to destDirectory, at the end as before")
        return DaqOptions(
            include=self._include(),
            exclude=(*self._list("skipFilePathPattern"), *_suffixes(self._list("excludeFileExtensions"))),
            hidden=self._truth("processHiddenFiles"),
            existing=self._kind is Kind.UPLOAD or self._truth("processExistingFiles"),
            destination=destination,
            workflow=self.workflow,
            workflow_owner=workflow_owner if self.workflow else None,
            arguments=self._arguments(),
            max_run_time_s=self._run_time_s(),
            upload_on_exit=self._on_exit(folder),
            skip_transfer=self._truth("skipTransfer"),
            skip_checksum=self._truth("skipChecksum"),
            skip_catalogue=self._truth("skipCatalog"),
        )

    def _include(self) -> tuple[str, ...]:
        patterns, suffixes = self._list("filePathPattern"), self._list("includeFileExtensions")
        if patterns and suffixes:
            raise _bad("includeFileExtensions", "give it or filePathPattern, not both")
        return patterns or _suffixes(suffixes)

    def _arguments(self) -> Mapping[str, str | int | float | bool]:
        given = self._given.get("workflowArgs") or {}
        if not isinstance(given, dict):
            raise _bad("workflowArgs", "give a mapping")
        for name, value in given.items():
            if not isinstance(value, str | int | float | bool):
                raise _bad("workflowArgs", f"{name!r} is no text, number or truth")
        return given

    def _run_time_s(self) -> float | None:
        given = self._given.get("maxRunTimeInHours")
        if given is None:
            return None
        try:
            hours = float(given)
        except (TypeError, ValueError, OverflowError) as error:
            raise _bad("maxRunTimeInHours", "give a number") from error
        if not 0 < hours <= _LONGEST_H:
            raise _bad("maxRunTimeInHours", f"give more than 0, and {_LONGEST_H:.0f} at most")
        return hours * 3600.0

    def _on_exit(self, folder: Path) -> bool:
        given = self._given.get("uploadDataDirectoryOnExit")
        if given in (None, "", False):
            return False
        if given is True or given == str(folder):
            return True
        raise _bad("uploadDataDirectoryOnExit", f"only the folder itself can be taken at the end: {folder}")

    def _text(self, key: str) -> str | None:
        value = self._given.get(key)
        if value is not None and not isinstance(value, str):
            raise _bad(key, "give a text")
        return value or None

    def _list(self, key: str) -> tuple[str, ...]:
        return tuple(part for one in (self._text(key) or "").split(",") if (part := one.strip()))

    def _truth(self, key: str) -> bool:
        value = self._given.get(key, False)
        if isinstance(value, str | bool) and str(value).lower() in ("true", "false"):
            return str(value).lower() == "true"
        raise _bad(key, "give true or false")


def _suffixes(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"*.{name.removeprefix('.')}" for name in names)


def _bad(key: str, message: str) -> HTTPException:
    return HTTPException(400, f"taskInfo, {key!r}: {message}")
