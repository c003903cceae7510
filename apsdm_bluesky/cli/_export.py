"""`apsdm export`: a result of the catalogue as a file."""

import io
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from apsdm_bluesky.durable import write_whole

from ._options import ConfigOption, HomeOption, JsonOption, configured


def export(
    uid: Annotated[
        str, typer.Argument(metavar="UID", help="Of a result; or of a raw run: its latest result.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The file; default: <scan>_<uid>_results.hdf.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a result into a file that NeXus tools and pyXpcsViewer open.

    A file that exists is never replaced; one with the same content is taken as written.
    """
    from ._catalogue import opened_catalogue

    with opened_catalogue(configured(config, home)) as client:
        result = _result(client, uid)
        start, content = result.metadata["start"], xpcs_content(result)
    path = (out or Path(_name(start))).absolute()
    if not (path.is_file() and path.read_bytes() == content):
        write_whole(path, content)
    told = {"raw_uid": start["raw_uid"], "result_uid": start["uid"], "file": str(path)}
    print(json.dumps(told) if as_json else f"result {start['uid']} of run {start['raw_uid']}: {path}")


def xpcs_content(result: Any) -> bytes:
    """A result file's content, as the server makes it."""
    buffer = io.BytesIO()
    result.export(buffer, format="application/x-xpcs-hdf5")
    return buffer.getvalue()


def _result(client: Any, uid: str) -> Any:
    from ._catalogue import find_run, latest_result

    if uid in client["processed"]:
        return find_run(client, uid, "processed")
    return latest_result(client, str(find_run(client, uid).metadata["start"]["uid"]))


def _name(start: dict[str, Any]) -> str:
    return f"{start.get('scan_id', 'scan')}_{start['uid'][:8]}_results.hdf"
