"""The manifest as a JSON file beside its bundle. What is read may come from anybody."""

import dataclasses
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.model import ArchivedRun, BundleMember, Manifest

from ._manifest_check import check_manifest
from ._names import printable

SCHEMA = 4  # 1: without `ledger` of a run, `birth_sha256` of a member; 2: `software`; 3: `runs` of a member
TOOL = f"apsdm-bluesky {version('apsdm-bluesky')}"
LARGEST = 256 * 2**20
"""Bytes of a manifest that is written or read: some 500,000 members."""
_MOST_VALUES = 10_000_000  # a value takes some 60 bytes of memory, however short its text is
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
_T = TypeVar("_T", ArchivedRun, BundleMember, Manifest)


def software_versions() -> dict[str, str]:
    """What writes and reduces the data on this machine, by the package's name."""
    return {name: version(name) for name in _SOFTWARE}


def encode_manifest(manifest: Manifest) -> bytes:
    """The same bytes for the same manifest; documents as the spool's JSON has them.

    Raises
    ------
    FormatError
        It is larger than `decode_manifest` reads.
    """
    data = json.dumps(dataclasses.asdict(manifest), indent=1, sort_keys=True).encode() + b"\n"
    try:
        _check_extent(data)
    except FormatError as error:
        raise FormatError(f"{manifest.bundle}: {error}; lower archive.bundle_gb, then resume") from error
    return data


def decode_manifest(data: bytes) -> Manifest:
    """The manifest that `encode_manifest` wrote, with all its fields checked.

    Raises
    ------
    FormatError
        The data are no manifest, one of a later schema, or one that no bundle can have.
    """
    _check_extent(data)
    try:
        fields: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"no manifest: {printable(error)}") from error
    schema = fields.get("schema") if isinstance(fields, dict) else None
    if type(schema) is not int or schema < 1:
        raise FormatError("no manifest: it has no schema")
    if schema > SCHEMA:
        raise FormatError(
            f"manifest of schema {printable(schema)}; this version reads up to {SCHEMA}, take a newer one"
        )
    fields["runs"] = _each(ArchivedRun, fields, "runs")
    fields["members"] = _each(BundleMember, fields, "members")
    manifest = _typed(Manifest, fields, "manifest")
    check_manifest(manifest)
    return manifest


def read_manifest(path: Path) -> tuple[Manifest, bytes]:
    """The manifest of a file, and the file's bytes.

    Raises
    ------
    FormatError
        It is none; the message names the file.
    OSError
        The file cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    try:
        return decode_manifest(data), data
    except FormatError as error:
        raise FormatError(f"{printable(path.name)}: {error}") from error


def _check_extent(data: bytes) -> None:
    if len(data) > LARGEST:
        raise FormatError(f"a manifest of more than {LARGEST >> 20} MiB")
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > _MOST_VALUES:
        raise FormatError(f"a manifest of more than {_MOST_VALUES:,} values")


def _each(kind: type[_T], fields: dict[str, Any], name: str) -> tuple[_T, ...]:
    found = fields.get(name)
    if not isinstance(found, list):
        raise FormatError(f"no manifest: {name} is no list")
    return tuple(_typed(kind, entry, f"{name}[{number}]") for number, entry in enumerate(found))


def _typed(kind: type[_T], fields: object, where: str) -> _T:
    """The message of these fields, each of exactly the type that it is declared with."""
    if not isinstance(fields, dict):
        raise FormatError(f"no manifest: {where} is no object")
    try:
        made = kind(**{name: _tuples(value) for name, value in fields.items()})
    except TypeError as error:
        raise FormatError(f"no manifest: {where}: {printable(error)}") from error
    for name, allowed in _TYPES[kind].items():
        if type(getattr(made, name)) not in allowed:
            found = type(getattr(made, name)).__name__
            raise FormatError(f"no manifest: {where}.{name} is of type {found}")
    return made


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _types_of(kind: type) -> dict[str, tuple[type, ...]]:
    """The types of each field's values, as JSON gives them."""
    return {
        name: tuple(_plain(hint) for hint in _alternatives(hint))
        for name, hint in get_type_hints(kind).items()
    }


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return (hint,) if get_origin(hint) in (Mapping, tuple) or not get_args(hint) else get_args(hint)


def _plain(hint: Any) -> type:
    origin = get_origin(hint) or hint
    return dict if origin is Mapping else origin


_TYPES = {kind: _types_of(kind) for kind in (ArchivedRun, BundleMember, Manifest)}
