"""`apsdm archive rebuild`: a lost ledger, from the manifests beside the bundles."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from apsdm_bluesky.errors import ApsdmError, ConfigError

from ._archive import person
from ._options import ConfigOption, HomeOption, JsonOption, configured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from apsdm_bluesky.archive import RebuildReport
    from apsdm_bluesky.transfer import Transfer

CollectionOption = Annotated[
    str | None, typer.Option(help="Look at this destination only; default: all that are configured.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be entered.")]
FromTarsOption = Annotated[
    bool,
    typer.Option("--from-tars", help="Fetch every tar without a manifest and make one of it: last resort."),
]


def rebuild(
    config: ConfigOption = None,
    home: HomeOption = None,
    collection: CollectionOption = None,
    dry_run: DryRunOption = False,
    from_tars: FromTarsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Rebuild a lost ledger from the manifests beside the bundles; the agent then verifies them all again.

    Nothing that the ledger has is changed. Stop the agent first. Exit code 1 where something was not entered.
    """
    from apsdm_bluesky.agent import archive_places, open_transfers
    from apsdm_bluesky.archive import AgentLock, Ledger, Rebuild

    settings = configured(config, home)
    with AgentLock(settings.folders.archive):
        transfers = open_transfers(settings)
        ledger = Ledger(settings.folders.archive, settings.archive.database)
        try:
            report = Rebuild(
                ledger,
                _chosen(transfers, collection),
                archive_places(settings),
                actor=person(),
                dry_run=dry_run,
                from_tars=from_tars,
            ).run()
        finally:
            ledger.close()
            for transfer in transfers.values():
                transfer.close()
    if as_json:
        print(json.dumps({"dry_run": dry_run, **asdict(report)}))
    else:
        _print(report, dry_run=dry_run)
    left = len(report.conflicts) + len(report.refused) + len(report.without_manifest)
    if left:
        raise ApsdmError(
            f"{left} files at the destination were not entered; they are listed with their reasons"
        )


def _chosen(transfers: "Mapping[str, Transfer]", collection: str | None) -> "Sequence[Transfer]":
    if collection is None:
        return list(transfers.values())
    if collection not in transfers:
        raise ConfigError(f"--collection {collection!r}: only {', '.join(transfers)} is configured")
    return [transfers[collection]]


def _print(report: "RebuildReport", *, dry_run: bool) -> None:
    for entered in report.entered:
        print(f"{entered.state:10} {entered.bundle}  {len(entered.runs)} runs  {entered.reason}".rstrip())
    for title, lines in (
        ("conflict", report.conflicts),
        ("refused", report.refused),
        ("no manifest", report.without_manifest),
    ):
        for line in lines:
            print(f"{title:10} {line}")
    done = "would be entered" if dry_run else "entered; the agent reads them back"
    print(f"{len(report.entered)} bundles {done}, {len(report.known)} are in the ledger already")
