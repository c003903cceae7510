"""`apsdm doctor`: what is there, what answers, and what to do about each fault."""

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

import typer

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ApsdmError

from ._options import ConfigOption, HomeOption, JsonOption, configured

_PACKAGES = (
    "bluesky",
    "ophyd",
    "pyepics",
    "pvapy",
    "tiled",
    "bluesky-tiled-plugins",
    "databroker",
    "globus-sdk",
    "zarr",
    "numba",
)
_LITTLE_SPACE_BYTES = 10 * 2**30
_NO_SPACE_BYTES = 2**30

Level = Literal["ok", "note", "fault"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: what was looked at, what was found, and what to do about it."""

    level: Level
    subject: str
    found: str
    advice: str = ""


GlobusOption = Annotated[
    bool, typer.Option("--globus", help="Try Globus, too: login, collections, a small file there and back.")
]


def doctor(
    config: ConfigOption = None,
    home: HomeOption = None,
    globus: GlobusOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check installation, folders, disk, servers and detectors.

    Exit code 1 where something must be mended.
    """
    settings = configured(config, home)
    checks = (*_CHECKS, _globus) if globus else _CHECKS
    findings = [finding for check in checks for finding in _findings(check, settings)]
    if as_json:
        print(json.dumps({"findings": [asdict(finding) for finding in findings]}))
    else:
        for finding in findings:
            print(f"{finding.level:6} {finding.subject:14} {finding.found}")
            if finding.advice:
                print(f"{'':21} -> {finding.advice}")
    if any(finding.level == "fault" for finding in findings):
        raise typer.Exit(1)


def _findings(check: "Check", settings: BeamlineConfig) -> list[Finding]:
    """What a check finds; one that cannot be made is a finding, too."""
    try:
        return list(check(settings))
    except (ApsdmError, OSError) as error:
        return [Finding(level="fault", subject=check.__name__.strip("_"), found=str(error))]


def _installation(_: BeamlineConfig) -> Iterator[Finding]:
    yield Finding(level="ok", subject="python", found=sys.version.split()[0])
    for name in _PACKAGES:
        try:
            yield Finding(level="ok", subject=name, found=version(name))
        except PackageNotFoundError:
            yield Finding(level="fault", subject=name, found="not installed", advice=f"pip install {name}")


def _folders(config: BeamlineConfig) -> Iterator[Finding]:
    root = config.folders.root
    place = next(parent for parent in (root, *root.parents) if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        advice = "give this account permission there, or choose another folder with --home or APSDM_HOME"
        yield Finding(level="fault", subject="state folder", found=f"{root}: not writable", advice=advice)
        return
    yield Finding(
        level="ok", subject="state folder", found=f"{root}{'' if root.exists() else ' (made when needed)'}"
    )
    yield _space("disk", place)
    destination = config.archive.destination
    if destination is not None and destination.exists():
        yield _space("archive disk", destination)


def _space(subject: str, place: Path) -> Finding:
    free = shutil.disk_usage(place).free
    level: Level = "ok" if free > _LITTLE_SPACE_BYTES else "note" if free > _NO_SPACE_BYTES else "fault"
    advice = "" if level == "ok" else "free space before the next run: raw frames and bundles go there"
    return Finding(
        level=level, subject=subject, found=f"{free / 2**30:.1f} GB free at {place}", advice=advice
    )


def _server(config: BeamlineConfig) -> Iterator[Finding]:
    from apsdm_bluesky.tiled_config import connect, running_server, server_key

    uri = config.server.uri or running_server(config)
    if uri is None:
        yield Finding(level="note", subject="Tiled", found="not running", advice="start it with 'apsdm up'")
        yield from _port(config)
        return
    try:
        client = connect(uri, server_key(config))
    except ApsdmError as error:
        advice = "see the server's log; documents wait in the spool meanwhile"
        yield Finding(level="fault", subject="Tiled", found=str(error), advice=advice)
        return
    runs = {name: len(client[name]) for name in ("raw", "processed") if name in client}
    found = ", ".join(f"{number} {name}" for name, number in runs.items()) or "no runs yet"
    yield Finding(level="ok", subject="Tiled", found=f"answers at {uri}: {found}")


def _port(config: BeamlineConfig) -> Iterator[Finding]:
    host, port = config.server.host, config.server.port
    try:
        with socket.create_server((host, port)):
            yield Finding(level="ok", subject="port", found=f"{port} on {host} is free")
    except OSError as error:
        advice = "stop what uses it, or set server.port in beamline.yml (0 takes a free one)"
        reason = (error.strerror or str(error)).partition(" (while")[0]
        yield Finding(level="fault", subject="port", found=f"{port} on {host}: {reason}", advice=advice)


def _agent(config: BeamlineConfig) -> Iterator[Finding]:
    from apsdm_bluesky.agent import archive_status

    try:
        status = archive_status(config)
    except ApsdmError as error:
        yield Finding(
            level="fault", subject="archive", found=str(error), advice="mend the folder, then start the agent"
        )
        return
    counts = ", ".join(f"{number} {state}" for state, number in status["counts"].items()) or "nothing yet"
    level: Level = "ok" if status["running"] else "note"
    advice = "" if status["running"] else "nothing is archived until it runs: 'apsdm up'"
    running = "running" if status["running"] else "not running"
    yield Finding(level=level, subject="agent", found=f"{running}; archive: {counts}", advice=advice)


def _expiry(config: BeamlineConfig) -> Iterator[Finding]:
    from apsdm_bluesky.archive import expiring_of

    found = expiring_of(config)
    if found:
        yield Finding(
            level="note",
            subject="retention",
            found=f"that of {len(found)} bundles ends soon, first of {found[0].bundle.uid}",
            advice="have it prolonged, or archive again; 'apsdm archive ls --expiring' lists them",
        )


def _detectors(config: BeamlineConfig) -> Iterator[Finding]:
    if config.simulation is not None:
        yield Finding(level="ok", subject="detectors", found="simulated; started with each session")
        return
    from apsdm_bluesky.devices import PvaStream, quiet_channel_access

    quiet_channel_access()
    for name, detector in config.detectors.items():
        device = PvaStream(detector.prefix, name=name, raw_root=config.folders.raw)
        try:
            device.wait_for_connection(timeout=3)
            yield Finding(level="ok", subject=name, found=f"{detector.prefix} answers")
        except TimeoutError:
            advice = "start its IOC; check the prefix, EPICS_CA_ADDR_LIST and EPICS_PVA_ADDR_LIST"
            yield Finding(
                level="fault", subject=name, found=f"{detector.prefix} does not answer", advice=advice
            )
        finally:
            device.destroy()


def _globus(config: BeamlineConfig) -> Iterator[Finding]:
    from apsdm_bluesky.transfer import check_globus

    if config.archive.globus is None:
        advice = "add the group archive.globus to beamline.yml"
        yield Finding(level="fault", subject="globus", found="not configured", advice=advice)
        return
    for check in check_globus(config.archive.globus, config.folders.globus):
        level: Level = "ok" if check.ok else "fault"
        yield Finding(level=level, subject=check.subject, found=check.found, advice=check.advice)


Check = Callable[[BeamlineConfig], Iterator[Finding]]
_CHECKS: tuple[Check, ...] = (
    _installation,
    _folders,
    _server,
    _agent,
    _expiry,
    _detectors,
)
