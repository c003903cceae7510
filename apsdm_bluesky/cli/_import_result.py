"""`apsdm import-result`: a result of another program, catalogued beside ours."""

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apsdm_bluesky.errors import FormatError

from ._options import ConfigOption, HomeOption, JsonOption, configured, job_metadata

if TYPE_CHECKING:
    from apsdm_bluesky.config import BeamlineConfig


def import_result(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A result file as boost-corr writes it.")],
    producer: Annotated[str, typer.Option(help="Name and version of the program that computed it.")],
    run: Annotated[
        str | None,
        typer.Option(help="The raw run's uid, or how it begins; default: what the file tells."),
    ] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Catalogue a result file as an analysis run of its raw run, with g2 under the same keys as ours."""
    from ._catalogue import publish

    settings = configured(config, home)
    documents, result_uid, raw_uid = _documents(settings, file, producer, run)
    if not publish(settings, documents):
        print(
            "apsdm: the result is safe in the spool, but not in the catalogue yet; the agent delivers it",
            file=sys.stderr,
        )
    told = {"raw_uid": raw_uid, "result_uid": result_uid}
    print(json.dumps(told) if as_json else f"result {result_uid} of run {raw_uid}, by {producer}")


def _documents(
    settings: "BeamlineConfig", file: Path, producer: str, run: str | None
) -> tuple[list[tuple[str, dict[str, Any]]], str, str]:
    """The documents, the uid of the result, and that of the raw run."""
    from apsdm_bluesky.callbacks import emit_imported_result
    from apsdm_bluesky.formats import read_xpcs

    from ._catalogue import find_run, opened_catalogue

    result = read_xpcs(file)
    uid = run or result.raw_uid
    if not uid:
        raise FormatError(f"{file}: does not tell its raw run; give it with --run")
    with opened_catalogue(settings) as client:
        start = dict(find_run(client, uid).metadata["start"])
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    documents: list[tuple[str, dict[str, Any]]] = []
    result_uid = emit_imported_result(
        result,
        start,
        emit=lambda name, document: documents.append((name, document)),
        detector=str(next(iter(start.get("detectors", ())), "")),
        producer=producer,
        file=file.absolute(),
        sha256=sha256,
        metadata=job_metadata(),
    )
    return documents, result_uid, start["uid"]
