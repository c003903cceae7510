"""What reads back from the archive, advanced by hand beside the driver of the bundles."""

import hashlib
from pathlib import Path

from apsdm_bluesky.archive import ArchivePlaces, LocalCopy, Reader, ReadingSteps, request_restore
from tests.archive.samples import SampleBeamline
from tests.archive.test_release import Releasing
from tests.waiting import wait_for


class ReadingDriver(Releasing):
    """An archive whose readings are advanced by `step`, too."""

    def __init__(self, sample: SampleBeamline, **changes) -> None:
        super().__init__(sample, **changes)
        folders = sample.folders
        self.archive = folders.archive
        self.places = ArchivePlaces(folder=folders.archive, roots=[folders.raw], prefix="x", target=1)
        self.new_reader()

    def new_reader(self) -> None:
        """As an agent that starts: nothing is remembered."""
        steps = ReadingSteps(
            self.places,
            ledger=self.ledger,
            transfers={"local": self.transfer},
            should_stop=lambda: self.stopping,
            actor="test",
        )
        self.reader = Reader(self.ledger, steps, actor="test")

    def released(self, uid: str) -> dict[str, str]:
        """Release a run; returns the digests of what was there."""
        before = contents(self.places.roots[0])
        self.ask(uid)
        wait_for(lambda: self.releases.bring_on() or self.local(uid)[0] is LocalCopy.RELEASED)
        return before

    def read(self) -> None:
        for uid in self.reader.uids():
            self.reader.bring_on(uid)

    def restore(self, run: str, **wanted) -> str:
        return request_restore(self.ledger, run, actor="test", archive=self.archive, **wanted)

    def finish(self, job: str):
        """The job's readings when all have ended, or need a person."""

        def settled():
            self.read()
            return all(one.ended or one.needs_person for one in self.ledger.readings.job(job))

        wait_for(settled, message=f"the end of job {job}")
        self.read()
        return self.ledger.readings.job(job)

    def scratch(self) -> list[str]:
        folder = self.archive / "restore"
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.exists() else []


def contents(folder: Path) -> dict[str, str]:
    """sha256 of each file under a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
