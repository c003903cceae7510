"""What may be asked of a DAQ."""

from dataclasses import replace
from pathlib import Path

import pytest

from apsdm_bluesky.daq import DaqOptions, Kind, NewDaq
from apsdm_bluesky.daq._check import check_new
from apsdm_bluesky.errors import DaqError
from tests.daq.trees import write


class Place:
    """A machine with a detector's folder, an experiment and a state folder."""

    def __init__(self, folder: Path) -> None:
        self.detector, self.home, self.root = folder / "detector", folder / "home", folder / "data/exp-1"
        for each in (self.detector / "raw", self.home, self.root / "data/raw"):
            each.mkdir(parents=True)
        self.sources: list[Path] = []

    def check(self, source: Path, kind: Kind = Kind.DAQ, **options: object) -> None:
        new = NewDaq(
            kind=kind,
            experiment="exp-1",
            station="test",
            source=source,
            root=self.root,
            owner="eva",
            options=replace(DaqOptions(), **options),
        )
        check_new(new, sources=self.sources, home=self.home)

    def refused(self, told: str, source: Path, kind: Kind = Kind.DAQ, **options: object) -> None:
        with pytest.raises(DaqError, match=told):
            self.check(source, kind, **options)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_folder_is_watched_and_a_folder_or_file_uploaded(place: Place) -> None:
    path = write(place.detector / "x.dat")
    place.check(place.detector)
    place.check(place.detector / "raw", Kind.UPLOAD, destination="a/b")
    place.check(path, Kind.UPLOAD)
    place.refused("is no folder; a single file can be uploaded", path)


def test_what_is_not_there_or_nowhere_in_particular(place: Place) -> None:
    place.refused("is not there, or may not be read", place.detector / "nothing")
    place.refused("give the folder's whole path", Path("detector"))
    place.refused("is no folder", Path("/dev/null"), Kind.UPLOAD)


def test_only_folders_that_may_be_read(place: Place, tmp_path: Path) -> None:
    place.sources = [place.detector]
    place.check(place.detector)
    place.check(place.detector / "raw")
    place.refused("is in none of the folders that may be read", tmp_path / "data")
    (place.detector / "out").symlink_to(tmp_path)
    place.refused("is in none of the folders that may be read", place.detector / "out")
    place.refused("is in none of the folders that may be read", place.detector / "raw/../..")
    (tmp_path / "detector-2").mkdir()
    place.refused("add it to daq.sources", tmp_path / "detector-2")


def test_never_the_state_folder_nor_what_it_lies_in(place: Place, tmp_path: Path) -> None:
    (place.home / "keys").mkdir()
    (tmp_path / "link").symlink_to(place.home)
    for source in (place.home, place.home / "keys", tmp_path / "link"):
        place.refused("holds the beamline's own state", source)
    place.root = place.detector  # else it would be refused for that
    (place.detector / "data").mkdir()
    place.refused("own state|experiment's files go", tmp_path)


def test_never_where_its_own_files_go(place: Place, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(place.root / "data")
    for source in (
        place.root,
        place.root / "data",
        place.root / "data/raw",
        place.root.parent,
        tmp_path / "link",
    ):
        place.refused("is where the experiment's files go", source)


def test_in_place_only_below_the_experiments_data(place: Place) -> None:
    place.check(place.root / "data/raw", skip_transfer=True)
    place.check(place.root / "data", skip_transfer=True)
    place.refused("must lie below", place.detector, skip_transfer=True)
    place.refused("must lie below", place.root, skip_transfer=True)
    (place.root / "data/out").symlink_to(place.detector)
    place.refused("must lie below", place.root / "data/out", skip_transfer=True)
    place.refused("leave one of them out", place.root / "data/raw", skip_transfer=True, destination="x")


@pytest.mark.parametrize("destination", ["/etc", "..", "a/../../b", "a\nb", "\ud800"])
def test_destinations_stay_in_the_experiment(place: Place, destination: str) -> None:
    place.refused("give a folder below the experiment's data", place.detector, destination=destination)


def test_patterns_are_looked_at_first(place: Place) -> None:
    place.refused("leads out of the folder", place.detector, include=("../*",))
    place.refused("is absolute", place.detector, exclude=("/etc/*",))


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 36_000_001.0])
def test_a_time_that_is_none(place: Place, seconds: float) -> None:
    place.refused("give up to 36000000 seconds", place.detector, max_run_time_s=seconds)
