"""The stand-in for Globus as the destination of a demo."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apsdm_bluesky.config import BeamlineConfig, GlobusConfig
from apsdm_bluesky.sim import GlobusProcess

_STAGING_S = 2.0


@contextmanager
def simulated_globus(config: BeamlineConfig) -> Iterator[BeamlineConfig]:
    """The configuration with a simulated tape store behind Globus, which runs as long as this context."""
    root = config.folders.root
    root.mkdir(parents=True, exist_ok=True)
    with GlobusProcess(root / "globus-sim", local=root) as globus:
        globus.configure(staging_s=_STAGING_S, migration_s=0)
        os.environ.update(globus.environment)  # the agent inherits it
        destination = GlobusConfig(
            local_collection=globus.collections["local"],
            local_root=root,
            collection=globus.collections["tape"],
            client_id=globus.client_id,
            secret_file=_secret_file(root / "globus-sim" / "secret", globus.client_secret),
        )
        archive = config.archive.model_copy(update={"globus": destination})
        yield config.model_copy(update={"archive": archive})


def _secret_file(path: Path, secret: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(secret, encoding="ascii")
    return path
