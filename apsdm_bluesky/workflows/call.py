"""`python -m apsdm_bluesky.workflows.call module:function`: a stage that is a Python function.

The function is called with those of the job's variables whose names it takes. What it prints is the stage's
output; its status is 0 unless it raises.
"""

import importlib
import inspect
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["call"]


def call(name: str, variables: Mapping[str, Any]) -> None:
    """Call `module:function` with the variables that it takes by name; one without a default must be there.

    Raises
    ------
    TypeError
        A variable is missing.
    """
    module, _, attribute = name.partition(":")
    function = getattr(importlib.import_module(module), attribute)
    parameters = inspect.signature(function).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        variables = {key: variables[key] for key in (p.name for p in parameters) if key in variables}
    function(**variables)


def _variables() -> dict[str, Any]:
    """From the file that the agent wrote on this machine; on a remote, from the environment."""
    path = os.environ.pop("APSDM_VARIABLES_FILE", None)
    text = os.environ.pop("APSDM_VARIABLES") if path is None else Path(path).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


if __name__ == "__main__":
    call(sys.argv[1], _variables())
