"""What is fetched for a reading, until its job has ended."""

import shutil
from pathlib import Path

from ._bundle import manifest_path
from ._reading import Reading
from ._record import Record

_FOLDER = "restore"
_GOING = ".going"


class Scratch:
    """One folder a reading, under the archive's folder."""

    def __init__(self, archive: Path) -> None:
        self.root = archive / _FOLDER

    def uids(self) -> list[str]:
        """The readings that something is here of."""
        if not self.root.is_dir():
            return []
        return sorted({path.name.removesuffix(_GOING) for path in self.root.iterdir()})

    def folder(self, reading: Reading) -> Path:
        """Where everything of a reading is."""
        return self.root / reading.uid

    def files(self, reading: Reading, record: Record) -> tuple[Path, Path]:
        """Where the tar and the manifest of its bundle are fetched to."""
        name = Path(str(record.destination)).name
        return self.folder(reading) / name, self.folder(reading) / manifest_path(name)

    def free_bytes(self) -> int:
        """Room on that disk."""
        place = next(folder for folder in (self.root, *self.root.parents) if folder.exists())
        return shutil.disk_usage(place).free

    def remove(self, uid: str) -> None:
        """Remove all of a reading at once; it may be gone already, or half gone."""
        folder, going = self.root / uid, self.root / f"{uid}{_GOING}"
        if going.exists():
            shutil.rmtree(going)
        if folder.exists():
            folder.rename(going)
            shutil.rmtree(going)
