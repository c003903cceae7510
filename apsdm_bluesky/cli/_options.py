"""Options that several commands share."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from apsdm_bluesky.config import BeamlineConfig, load_config

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="beamline.yml; default: $APSDM_CONFIG, else the simulated beamline.",
        show_default=False,
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


def job_metadata() -> dict[str, str]:
    """What a result's start document tells of the workflow's job that this command is a stage of."""
    return {"job": job} if (job := os.environ.get("APSDM_JOB")) else {}
