"""Messages that could not be decoded, kept aside for whoever wants to know why."""

import json
from collections.abc import Sequence
from pathlib import Path

from apsdm_bluesky.errors import StorageError
from apsdm_bluesky.model import CorruptFrame


def write_corrupt(folder: Path, corrupt: Sequence[CorruptFrame]) -> None:
    """Write ``messages.jsonl`` (number, reason, file) and each payload as it came, ``<n>.bin``.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True)
        with (folder / "messages.jsonl").open("w", encoding="utf-8") as lines:
            for number, message in enumerate(corrupt):
                name = None if message.payload is None else f"{number}.bin"
                if message.payload is not None:
                    (folder / f"{number}.bin").write_bytes(message.payload.tobytes())
                line = {"unique_id": message.unique_id, "reason": message.reason, "payload": name}
                lines.write(json.dumps(line) + "\n")
    except OSError as error:
        raise StorageError(f"{folder}: corrupt messages cannot be kept: {error.strerror or error}") from error
