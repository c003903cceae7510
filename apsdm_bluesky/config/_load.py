"""Reading `beamline.yml` and other files of a beamline, and their faults in words."""

import os
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from apsdm_bluesky.errors import ConfigError

from ._beamline import BeamlineConfig

_Model = TypeVar("_Model", bound=BaseModel)


def load_config(path: Path | None = None) -> BeamlineConfig:
    """Read `beamline.yml`; without a path, the file that APSDM_CONFIG names, else the simulated beamline.

    The agent names its own configuration so to the stages of workflows.

    Raises
    ------
    ConfigError
        The file cannot be read, is no YAML mapping, or has a key or value that is not allowed.
    """
    path = path or (Path(named) if (named := os.environ.get("APSDM_CONFIG")) else None)
    if path is None:
        return BeamlineConfig()
    return load_model(path, BeamlineConfig, what="beamline.yml")


def load_model(path: Path, model: type[_Model], *, what: str) -> _Model:
    """Read a YAML file.

    Parameters
    ----------
    what
        What it should be, for messages.

    Raises
    ------
    ConfigError
        The file cannot be read, is no YAML mapping, or has a key or value that is not allowed.
    """
    data = _mapping(path, what)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{path}: {faults_of(error)}") from error


def _mapping(path: Path, what: str) -> dict[Any, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give a readable {what}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is no text ({error.reason}); give a {what} in UTF-8") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is no YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: is nested too deeply; give a {what}") from error
    except ValueError as error:  # a date that is none
        raise ConfigError(f"{path}: is no YAML: {error}") from error
    if not isinstance(data, dict | None):
        raise ConfigError(f"{path}: holds no mapping of keys to values at the top")
    return data or {}


def faults_of(error: ValidationError) -> str:
    """Every fault with the path of its key, in one line."""
    faults = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"]) or "the file"
        text = (
            "unknown key"
            if fault["type"] == "extra_forbidden"
            else fault["msg"].removeprefix("Value error, ")
        )
        faults.append(f"{key}: {text}")
    return "; ".join(faults)
