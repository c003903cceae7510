"""How far long work is, for whoever looks: a small file a bundle, which nobody depends on."""

import contextlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

_INTERVAL_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What is being done for a bundle: `done` of `total` bytes, None where the total is not known here."""

    doing: str
    done: int
    total: int | None


class ProgressFolder:
    """The files in `folder`; a bundle that nothing is done for has none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, uid: str) -> Stage | None:
        """What is being done for a bundle; None where nothing is known."""
        try:
            return Stage(**json.loads(self._path(uid).read_bytes()))
        except (OSError, ValueError, TypeError):  # gone, or being replaced: the next look tells
            return None

    def tell(self, uid: str, stage: Stage) -> None:
        """Replace what is told. A full disk must not end the work that it tells of."""
        new = self._path(uid).with_suffix(".new")
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps(asdict(stage)), encoding="ascii")
            new.replace(self._path(uid))

    @contextlib.contextmanager
    def of(self, uid: str, doing: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Tell of work that reports the bytes it has done, piece by piece, until it ends."""
        done, told = 0, -math.inf

        def advance(count: int) -> None:
            nonlocal done, told
            done += count
            if time.monotonic() - told >= _INTERVAL_S:
                told = time.monotonic()
                self.tell(uid, Stage(doing=doing, done=done, total=total))

        try:
            yield advance
        finally:
            self.forget(uid)

    def forget(self, uid: str) -> None:
        """Nothing is being done any more."""
        with contextlib.suppress(OSError):
            self._path(uid).unlink(missing_ok=True)
            self._path(uid).with_suffix(".new").unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget what a killed agent told."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, uid: str) -> Path:
        return self._folder / f"{uid}.json"


def progress_of(folder: Path) -> ProgressFolder:
    """The progress that the agent of an archive's folder tells."""
    return ProgressFolder(folder / "progress")
