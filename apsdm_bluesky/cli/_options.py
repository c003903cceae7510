"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from apsdm_bluesky.config import BeamlineConfig, load_config

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="beamline.yml; without it: the simulated beamline.", show_default=False
    ),
]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="State folder; default: the configuration's, $APSDM_HOME, ~/.apsdm.",
        show_default=False,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")
]


def configured(path: Path | None, home: Path | None, **changes: Any) -> BeamlineConfig:
    """The configuration in force: the file's, with the command line's changes."""
    config = load_config(path)
    if home is not None:
        changes["home"] = home
    return config.model_copy(update=changes)
