"""The manifest as a JSON file beside its bundle."""

import dataclasses
import json
from importlib.metadata import version
from typing import Any

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.model import ArchivedRun, BundleMember, Manifest

SCHEMA = 3  # 1: without `ledger` of a run and `birth_sha256` of a member; 2: without `software`
TOOL = f"apsdm-bluesky {version('apsdm-bluesky')}"
_SOFTWARE = (
    "apsdm-bluesky",
    "bluesky",
    "event-model",
    "ophyd",
    "tiled",
    "pvapy",
    "numpy",
    "numba",
    "zarr",
    "h5py",
)


def software_versions() -> dict[str, str]:
    """What writes and reduces the data on this machine, by the package's name."""
    return {name: version(name) for name in _SOFTWARE}


def encode_manifest(manifest: Manifest) -> bytes:
    """The same bytes for the same manifest; documents as the spool's JSON has them."""
    return json.dumps(dataclasses.asdict(manifest), indent=1, sort_keys=True).encode() + b"\n"


def decode_manifest(data: bytes) -> Manifest:
    """The manifest that `encode_manifest` wrote.

    Raises
    ------
    FormatError
        The data are no manifest, or one of a later schema.
    """
    try:
        fields: dict[str, Any] = json.loads(data)
        if fields["schema"] > SCHEMA:
            raise FormatError(f"manifest of schema {fields['schema']}; this version reads up to {SCHEMA}")
        fields["runs"] = tuple(ArchivedRun(**run) for run in fields["runs"])
        fields["members"] = tuple(BundleMember(**member) for member in fields["members"])
        return Manifest(**fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(f"no manifest: {error!r}") from error
