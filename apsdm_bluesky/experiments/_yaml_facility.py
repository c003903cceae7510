"""Proposals and ESAFs from a file that staff edit."""

import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NaiveDatetime, model_validator

from apsdm_bluesky.config import load_model
from apsdm_bluesky.errors import ConfigError, ExperimentError
from apsdm_bluesky.texts import shortened

from ._facility import Esaf, FacilityUser, Proposal

_HOUR_S = 3600.0


def _quoted(value: object) -> object:
    if isinstance(value, int | float):
        raise ValueError("write it in quotes: a number would lose the zeros that it begins with")  # noqa: TRY004 - of pydantic
    return value


def _no_number(value: object) -> object:
    if isinstance(value, int | float):
        raise ValueError("give a date, or a date and a time: 2026-10-06 08:00")  # noqa: TRY004 - of pydantic
    return value


_Number = Annotated[str, Field(pattern=r"^[0-9]{1,20}$"), BeforeValidator(_quoted)]
_Word = Annotated[str, BeforeValidator(_quoted)]
_Time = Annotated[NaiveDatetime, BeforeValidator(_no_number)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _User(_Model):
    badge: _Number
    first_name: str
    last_name: str
    login: _Word = ""
    email: str = ""
    institution: str = ""
    pi: bool = False

    def made(self) -> FacilityUser:
        return FacilityUser(**dict(self))


class _Stay(_Model):
    """What proposals and ESAFs share."""

    id: _Number
    title: str
    beamline: str | None = None
    start: _Time
    end: _Time
    users: tuple[_User, ...] = ()

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"{self.id} ends on {self.end}, before it starts on {self.start}")
        return self

    @property
    def people(self) -> tuple[FacilityUser, ...]:
        return tuple(user.made() for user in self.users)

    def at(self, beamline: str) -> bool:
        return self.beamline is None or self.beamline == beamline


class _Proposal(_Stay):
    run: _Word
    duration_h: Annotated[float, Field(ge=0)] | None = None
    mail_in: bool = False
    proprietary: bool = False

    def made(self) -> Proposal:
        granted = (self.end - self.start).total_seconds()
        return Proposal(
            id=self.id,
            title=self.title,
            run=self.run,
            start=self.start,
            end=self.end,
            duration_s=granted if self.duration_h is None else self.duration_h * _HOUR_S,
            users=self.people,
            mail_in=self.mail_in,
            proprietary=self.proprietary,
        )


class _Esaf(_Stay):
    description: str = ""
    sector: _Word = ""
    status: str = "Approved"

    def made(self) -> Esaf:
        return Esaf(
            id=self.id,
            title=self.title,
            description=self.description,
            sector=self.sector,
            status=self.status,
            start=self.start,
            end=self.end,
            users=self.people,
        )


class _File(_Model):
    proposals: tuple[_Proposal, ...] = ()
    esafs: tuple[_Esaf, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        _no_double("proposals", [f"{one.id} in run {one.run}" for one in self.proposals])
        _no_double("esafs", [one.id for one in self.esafs])
        return self


class YamlFacility:
    """A `FacilityDatabase` in a YAML file, which is read when it is asked, and anew when it was changed.

    Where an entry has no `beamline`, it is of every one.

    Parameters
    ----------
    path
        The file, with `proposals` and `esafs`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._read: tuple[tuple[int, ...], _File] | None = None

    def esafs(self, beamline: str, year: int | None = None) -> Sequence[Esaf]:
        """See `FacilityDatabase`."""
        found = [one for one in self._file().esafs if one.at(beamline) and _touches(one, year)]
        return sorted((one.made() for one in found), key=_latest_first)

    def esaf(self, id: str) -> Esaf:  # noqa: A002 - the field's name
        """See `FacilityDatabase`."""
        for one in self._file().esafs:
            if one.id == id:
                return one.made()
        raise ExperimentError(f"ESAF {_shown(id)} is not in {self._path}")

    def proposals(self, beamline: str, run_name: str | None = None) -> Sequence[Proposal]:
        """See `FacilityDatabase`."""
        found = [one for one in self._file().proposals if one.at(beamline) and run_name in (None, one.run)]
        return sorted((one.made() for one in found), key=_latest_first)

    def proposal(self, id: str, run_name: str | None = None) -> Proposal:  # noqa: A002 - the field's name
        """See `FacilityDatabase`."""
        found = [one.made() for one in self._file().proposals if one.id == id and run_name in (None, one.run)]
        if not found:
            of_run = "" if run_name is None else f", or has no beam time in run {_shown(run_name)}"
            raise ExperimentError(f"proposal {_shown(id)} is not in {self._path}{of_run}")
        return min(found, key=_latest_first)

    def _file(self) -> _File:
        with self._lock:
            try:
                found = self._path.stat()
            except OSError as error:
                raise ConfigError(f"{self._path}: {error.strerror}; see experiments.facility.file") from error
            now = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            if self._read is None or self._read[0] != now:
                # Its state first: what changes it meanwhile has it read again.
                self._read = (now, load_model(self._path, _File, what="file of proposals and ESAFs"))
            return self._read[1]


def _touches(one: _Esaf, year: int | None) -> bool:
    return year is None or one.start.year <= year <= one.end.year


def _latest_first(one: Esaf | Proposal) -> tuple[float, str]:
    return -(one.start - datetime.min).total_seconds(), one.id  # noqa: DTZ901 - both without a zone


def _no_double(key: str, names: Sequence[str]) -> None:
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise ValueError(f"{key}: {', '.join(doubles)} is there more than once")


def _shown(text: str) -> str:
    return repr(shortened(text, 40))
