"""The wire protocol of the APS Data Management system, for clients that were written for it."""

from typing import TYPE_CHECKING

from apsdm_bluesky.config import BeamlineConfig

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["mount_dm"]


def mount_dm(app: "FastAPI", config: BeamlineConfig) -> None:
    """Put what serves DM's clients into the state of Tiled's application, whose gate finds it there."""
    from ._routes import dm_service  # brings Tiled's server, which takes seconds

    app.state.dm = dm_service(app, config)
