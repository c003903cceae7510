"""Which facility database a beamline has."""

from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ConfigError, ExperimentError
from apsdm_bluesky.texts import shortened

from ._facility import Esaf, FacilityDatabase, Proposal
from ._yaml_facility import YamlFacility

FACILITY_GROUP = "apsdm_bluesky.facility"
_KEY = "experiments.facility.plugin"
_SAMPLE = Path(__file__).with_name("sample_facility.yml")


def open_facility(config: BeamlineConfig) -> FacilityDatabase:
    """The facility database of a beamline: a plugin, a file, the sample of a simulated beamline, or none.

    A plugin is an entry point of the group `apsdm_bluesky.facility`: called with the configuration, it
    returns a `FacilityDatabase`.

    Raises
    ------
    ConfigError
        The plugin is not installed, or cannot be used.
    """
    facility = config.experiments.facility
    if facility.plugin is not None:
        return _of_plugin(facility.plugin, config)
    if facility.file is not None:
        return YamlFacility(facility.file)
    return YamlFacility(_SAMPLE) if config.simulation is not None else _NoFacility()


class _NoFacility:
    """Of a beamline for which none is configured: it knows of nothing."""

    def esafs(self, beamline: str, year: int | None = None) -> Sequence[Esaf]:  # noqa: ARG002
        return ()

    def esaf(self, id: str) -> Esaf:  # noqa: A002 - the field's name
        raise _unknown("ESAF", id)

    def proposals(self, beamline: str, run_name: str | None = None) -> Sequence[Proposal]:  # noqa: ARG002
        return ()

    def proposal(self, id: str, run_name: str | None = None) -> Proposal:  # noqa: A002, ARG002
        raise _unknown("proposal", id)


def _unknown(kind: str, number: str) -> ExperimentError:
    return ExperimentError(
        f"{kind} {shortened(number, 40)!r} cannot be looked up: there is no facility database; set "
        "experiments.facility"
    )


def _of_plugin(name: str, config: BeamlineConfig) -> FacilityDatabase:
    make = _loaded(_entry_point(name))
    made = make(config)
    if not isinstance(made, FacilityDatabase):
        raise ConfigError(f"{_KEY}: {name!r} makes a {type(made).__name__}, which is no FacilityDatabase")
    return made


def _entry_point(name: str) -> EntryPoint:
    found = entry_points(group=FACILITY_GROUP)
    if name not in found.names:
        known = ", ".join(sorted(found.names)) or "none"
        raise ConfigError(f"{_KEY}: {name!r} is not installed; installed are: {known}")
    return found[name]


def _loaded(point: EntryPoint) -> Callable[[BeamlineConfig], object]:
    try:
        made = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{_KEY}: {point.name!r} ({point.value}) cannot be loaded: {error}") from error
    if not callable(made):
        raise ConfigError(f"{_KEY}: {point.name!r} ({point.value}) cannot be called")
    return made  # type: ignore[no-any-return]
