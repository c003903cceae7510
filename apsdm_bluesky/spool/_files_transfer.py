"""A run of files on its way to the catalogue."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.spool._catalogue import Catalogue, RefusedError
from apsdm_bluesky.spool._file_nodes import StoredFile, stored_files
from apsdm_bluesky.spool._file_series import SeriesName, SeriesWriter, series_of
from apsdm_bluesky.spool._files_writer import FilesWriter
from apsdm_bluesky.spool._runfile import RunFile

_SLICE = 16  # files before other runs have their turn
_IMAGES = 128  # of a series, which take one request together

T = TypeVar("T")


class FilesTransfer:
    """The delivery of the files of one run that has stopped.

    Each file is looked for before it is registered, so it may be done again at any point. After an error a
    transfer is of no use any more.

    Raises
    ------
    UnavailableError, FailedError, RefusedError, StorageError
        From `advance`; see `RunTransfer`.
    """

    behind = False

    def __init__(self, run: RunFile, catalogue: Catalogue) -> None:
        self.run = run
        self.position = 0
        self.finished = False
        self._catalogue = catalogue
        self._steps: Iterator[None] | None = None

    def advance(self) -> bool:
        """Register some of the files; whether there were any."""
        if self.run.stop is None:
            self.position = self.run.complete_size()
            return False
        if self._steps is None:
            self.position = 0
            self._steps = self._register()
        if next(self._steps, self) is self:
            self.run.mark_delivered()
            self.finished = True
        return True

    def _register(self) -> Iterator[None]:
        try:
            files = {file.uri: file for file in stored_files(self.run)}.values()
        except FormatError as error:
            raise RefusedError(str(error)) from error
        start = self.run.start
        labels = {key: start.get(key) for key in ("experiment", "station", "beamline")}
        writer = FilesWriter(self._catalogue.nodes(), self.run.uid, str(start.get("experiment")), labels)
        singles, series = _sorted(files)
        for part in _slices(singles, _SLICE):
            writer.register(writer.look_into(part))
            yield
        for name, images in series.items():
            several = SeriesWriter(writer, name)
            for part in _slices(images, _IMAGES):
                writer.register(several.add(part))
                yield


def _sorted(files: Iterable[StoredFile]) -> tuple[list[StoredFile], dict[SeriesName, list[StoredFile]]]:
    """Files on their own, and those that may be of a series."""
    singles: list[StoredFile] = []
    series: dict[SeriesName, list[StoredFile]] = {}
    for file in files:
        name = series_of(file)
        (singles if name is None else series.setdefault(name, [])).append(file)
    return singles, series


def _slices(items: Iterable[T], size: int) -> Iterator[Sequence[T]]:
    rest = iter(items)
    while part := list(itertools.islice(rest, size)):
        yield part
