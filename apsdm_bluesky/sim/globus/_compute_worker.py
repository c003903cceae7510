"""A worker of the endpoint: ``python _compute_worker.py ANSWER``.

Reads the code of a function and a payload as JSON from stdin, calls the function, and writes what Compute
would tell to the file ANSWER. It outlives the stand-in, as a worker of an endpoint outlives the service.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

__all__ = ["call", "unpack"]


def unpack(packed: str) -> list[str]:
    """The buffers in a text: each has its length and a newline before it."""
    buffers = []
    while packed:
        length, _, rest = packed.partition("\n")
        buffers.append(rest[: int(length)])
        packed = rest[int(length) :]
    return buffers


def call(code: str, payload: str) -> Any:
    """Call the function; code as source (``st``), arguments as JSON (``11``)."""
    kind, _, text = unpack(code)[0].partition("\n")
    if kind != "st":
        raise ValueError(f"code of the kind {kind!r} is not simulated")
    name, _, source = text.partition(":")
    scope: dict[str, Any] = {}
    exec(source, scope)  # noqa: S102  (what an endpoint is for)
    arguments, keywords = (_data(buffer) for buffer in unpack(payload))
    return scope[name](*arguments, **keywords)


def _data(buffer: str) -> Any:
    kind, _, text = buffer.partition("\n")
    if kind != "11":
        raise ValueError(f"data of the kind {kind!r} is not simulated")
    return json.loads(text)


def main() -> None:
    """Do the one call."""
    target = Path(sys.argv[1])
    given = json.load(sys.stdin)
    try:
        answer = {"status": "success", "result": "11\n" + json.dumps(call(given["code"], given["payload"]))}
    except Exception:  # noqa: BLE001  (told to who called)
        answer = {"status": "failed", "exception": traceback.format_exc()}
    part = target.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(answer))
    part.replace(target)


if __name__ == "__main__":
    main()
