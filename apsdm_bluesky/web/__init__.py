"""The pages of the Tiled server: routers that are mounted in its application, beside Tiled's own."""

from typing import TYPE_CHECKING

from apsdm_bluesky.config import BeamlineConfig

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["mount", "serve"]


def serve(config: BeamlineConfig) -> None:
    """Run the Tiled server with the pages until SIGINT or SIGTERM; errors as of `tiled_config.serve`."""
    from apsdm_bluesky.tiled_config import serve as serve_with

    serve_with(config, mount)


def mount(app: "FastAPI", config: BeamlineConfig) -> None:
    """Put the pages into Tiled's application. `/` is ours: Tiled's own page there only leads to `/ui/`."""
    from ._routes import add_routes  # brings Tiled's server, which takes seconds

    add_routes(app, config)
