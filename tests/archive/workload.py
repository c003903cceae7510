"""The runs of a campaign: tiny ones, some of a few MB, big ones in parts, with analyses before and after."""

import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import zarr

from tests.archive.samples import SampleBeamline

BUNDLE_BYTES = 4_000_000
_FRAME = (256, 256)  # of 2 bytes: 131 kB
_FRAMES = {"tiny": (1, 3), "medium": (12, 24), "big": (50, 80)}
_WEIGHTS = {"tiny": 6, "medium": 3, "big": 1}


@dataclass(frozen=True, slots=True)
class Stamp:
    """What must not change of a raw file."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        info = path.stat()
        return cls(info.st_size, info.st_mtime_ns, info.st_ino)


@dataclass
class Workload:
    """Offers `total` runs to the archive of `sample`, one at a time, as `rng` wants them.

    Attributes
    ----------
    uids
        Of all runs that were offered, with their analyses.
    """

    sample: SampleBeamline
    rng: random.Random
    total: int
    uids: list[str] = field(default_factory=list)
    offered: int = 0
    _stamps: dict[Path, Stamp] = field(default_factory=dict)
    _digests: dict[Path, str] = field(default_factory=dict)
    _late: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether all runs were offered."""
        return self.offered == self.total

    def offer(self) -> None:
        """One more run; the first ones are of each kind."""
        kinds = list(_WEIGHTS)
        kind = self.rng.choices(kinds, list(_WEIGHTS.values()))[0]
        if self.offered < len(kinds):
            kind = kinds[self.offered]
        uid = f"{self.offered:03d}-{kind}"
        self.offered += 1
        self._take(uid, self.rng.randint(*_FRAMES[kind]))
        if self._late and self.rng.random() < 0.5:
            self._analyze(self._late.pop(0), "late")

    def finish(self) -> None:
        """Offer all that is left."""
        while not self.complete:
            self.offer()
        while self._late:
            self._analyze(self._late.pop(), "late")

    def changed(self) -> list[str]:
        """What is wrong with the raw files by their look."""
        found = {path for path in self.sample.folders.raw.rglob("*") if path.is_file()}
        wrong = [f"{path}: is new" for path in found - self._stamps.keys()]
        wrong += [f"{path}: is gone" for path in self._stamps.keys() - found]
        both = found & self._stamps.keys()
        return wrong + [f"{path}: was changed" for path in both if Stamp.of(path) != self._stamps[path]]

    def changed_content(self) -> list[str]:
        """What is wrong with the raw files by their content."""
        return [
            f"{path}: has other bytes" for path, digest in self._digests.items() if _sha256(path) != digest
        ]

    def _take(self, uid: str, frames: int) -> None:
        sample = self.sample
        array = self._write(uid, frames)
        sample.start(uid, experiment=self.rng.choice("abc"))
        sample.refer(uid, f"file://localhost{array}", rows=frames)
        analyzed = self.rng.random()
        if analyzed < 0.3:
            self._analyze(uid, "live")
        elif analyzed < 0.5:
            self._late.append(uid)
        sample.stop(uid)
        self.uids.append(uid)

    def _analyze(self, uid: str, when: str) -> None:
        analysis = f"{uid}-{when}"
        self.sample.start(analysis, raw_uid=uid)
        self.sample.stop(analysis)
        self.uids.append(analysis)

    def _write(self, uid: str, frames: int) -> Path:
        group = self.sample.folders.raw / f"{uid}.zarr"
        made = zarr.create_group(store=str(group)).create_array(
            "image", shape=(frames, *_FRAME), chunks=(8, *_FRAME), dtype="u2", compressors=None
        )
        made[:] = np.random.default_rng(self.offered).integers(1, 60000, made.shape, dtype="u2")
        for path in group.rglob("*"):
            if path.is_file():
                self._stamps[path], self._digests[path] = Stamp.of(path), _sha256(path)
        return group / "image"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
