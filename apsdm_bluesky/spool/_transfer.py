"""One run on its way to the catalogue."""

import itertools

from apsdm_bluesky.spool._catalogue import Catalogue
from apsdm_bluesky.spool._disk import storage_errors
from apsdm_bluesky.spool._runfile import RunFile

_SLICE = 20  # documents before other runs have their turn
_BATCH_EVENTS = 10_000
_BATCH_BYTES = 64 << 20


class RunTransfer:
    """The delivery of one run over one connection, from its first document on.

    What an earlier attempt left on the server is removed first, unless it is the complete run. After an error
    a transfer is of no use any more.

    Raises
    ------
    UnavailableError, FailedError, RefusedError, StorageError
        From here and from `advance`; `StorageError` where the run's file cannot be read, or (its subclass
        `DamagedRunError`) is damaged.
    """

    def __init__(self, run: RunFile, catalogue: Catalogue) -> None:
        self.run = run
        self.position = 0  # bytes of the file that the server has
        self.finished = False
        self._line = 0
        stop = run.stop
        container = "processed" if "raw_uid" in run.start else "raw"
        on_server = catalogue.stop_uid(container, run.uid)
        if stop is not None and on_server == stop["uid"]:
            self._finish()
            return
        if on_server is not None:
            catalogue.delete(container, run.uid)
        self._live = stop is None
        self._writer = catalogue.writer(container, 1 if self._live else _batch_size(run))

    @property
    def behind(self) -> bool:
        """Whether the run has stopped so far ahead of this transfer that starting again in bulk is faster."""
        if self.finished or not self._live or not self._line or self.run.stop is None:
            return False
        return self.run.complete_size() - self.position > _SLICE * self.position / self._line

    def advance(self) -> bool:
        """Deliver some of the documents that are there; whether there were any."""
        self.run.sync()
        count = 0
        with storage_errors(self.run.path, "read"), self.run.path.open("rb") as file:
            file.seek(self.position)
            for name, doc in itertools.islice(self.run.follow(file, self._line), _SLICE):
                self._writer.write(name, doc)
                count += 1
                if name == "stop":
                    self._finish()
            self.position = file.tell()
        self._line += count
        return count > 0

    def _finish(self) -> None:
        self.run.mark_delivered()
        self.finished = True


def _batch_size(run: RunFile) -> int:
    """Events a request, so that the writer holds no more than about 64 MiB of them."""
    with storage_errors(run.path, "read"), run.path.open("rb") as file:
        lines = sum(1 for _ in file)
        average = file.tell() / max(lines, 1)
    return max(1, min(_BATCH_EVENTS, int(_BATCH_BYTES / max(average, 1))))
