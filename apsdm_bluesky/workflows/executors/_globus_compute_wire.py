"""What goes over the wire to a Globus Compute endpoint, in the two text formats that its SDK reads.

Function: ``st``, newline, its name, ``:``, its source (``PureSourceTextInspect``). Data: ``11``, newline,
JSON (``JSONData``). Each buffer has its length and a newline before it. Neither needs the SDK,
nor the endpoint's version of Python.
"""

import hashlib
import json
from importlib import resources
from typing import Any

FUNCTION = "apsdm_task"

_SOURCE = """\
PROGRAM = {program!r}


def {name}(request):
    import json, subprocess, sys

    python = request["python"] or sys.executable
    done = subprocess.run(
        [python, "-c", PROGRAM], input=json.dumps(request), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-1000:] or "ended with status %d" % done.returncode)
    return json.loads(done.stdout)
"""


def function_code() -> str:
    """The function as an endpoint takes it: it runs the program in a process of its own."""
    program = resources.files(__package__).joinpath("_globus_compute_remote.py").read_text(encoding="utf-8")
    return _packed(f"st\n{FUNCTION}:{_SOURCE.format(program=program, name=FUNCTION)}")


def function_digest() -> str:
    """Another one for another function."""
    return hashlib.sha256(function_code().encode()).hexdigest()


def payload(request: dict[str, Any]) -> str:
    """The one argument of a call."""
    return _packed(f"11\n{json.dumps([request])}", "11\n{}")


def _packed(*buffers: str) -> str:
    return "".join(f"{len(buffer)}\n{buffer}" for buffer in buffers)
