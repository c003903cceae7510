"""What the stand-in's process is told at its start, and how it behaves."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Behaviour", "ServerSettings"]

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Behaviour(BaseModel):
    """Speeds, delays and limits. Kept across restarts; `GlobusProcess.configure` changes them while it runs.

    Parameters
    ----------
    rate_bytes_s
        Speed of each copy, bytes per second. None: as fast as it goes.
    hold_at_bytes
        Every copy of a file stops after so many bytes until this is None again. The way to be "in mid-copy".
    retry_s
        A copy that met a fault (a missing file, a full quota) is tried again after so long.
    token_lifetime_s
        Of access tokens, a whole number. The service's is 48 h (``expires_in`` in the SDK's test data).
    deadline_s
        Of tasks that give none. The service's is 24 h (difference of times in the SDK's test data).
    active_limit, pending_limit
        Tasks that work at once, and that may be unfinished, per user.
    staging_s
        Time to bring a file from tape to disk before it is read. None: it waits for `GlobusProcess.stage`.
    migration_s
        A file written to the tape collection leaves the disk so long after. None: only by
        `GlobusProcess.migrate`.
    stored_checksum
        The tape collection answers checksums from the attribute stored when the file was written
        (``uda_checksum``), so it does not notice a flipped bit.
    allow_delete
        Accept delete tasks.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate_bytes_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    hold_at_bytes: Annotated[int, Field(ge=0)] | None = None
    retry_s: Seconds = 0.1
    token_lifetime_s: Annotated[int, Field(gt=0)] = 172_800
    deadline_s: Seconds = 86_400.0
    active_limit: Annotated[int, Field(ge=1)] = 3
    pending_limit: Annotated[int, Field(ge=1)] = 100
    staging_s: Seconds | None = 0.0
    migration_s: Seconds | None = 0.0
    stored_checksum: bool = True
    allow_delete: bool = False


class ServerSettings(BaseModel):
    """Where the stand-in keeps its state, the folders it serves, and its TCP port (0: any)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path
    local: Path
    tape: Path
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    behaviour: Behaviour = Behaviour()
