"""Analysis runs as XPCS result files, for Tiled's export of containers.

Nothing is read of raw frames: only the results, and the raw run's metadata.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tiled.catalog.adapter import RootNode
from tiled.serialization.container import serialize_hdf5
from tiled.server.core import NoEntry
from tiled.utils import SerializationError, ensure_awaitable

from apsdm_bluesky.errors import ApsdmError, FormatError
from apsdm_bluesky.formats import RawRun, run_record, xpcs_bytes

# Of the events of a result, what its file holds.
_STREAMS = ("primary", "qmap", "ledger", "two_time")

Metadata = Mapping[str, Any]
FilterForAccess = Callable[[Any], Awaitable[Any]]


async def export_hdf5(
    mimetype: str, run: Any, metadata: Metadata, filter_for_access: FilterForAccess
) -> bytes | memoryview:
    """An analysis run as a result file, any other run as Tiled exports every container."""
    if _is_result(metadata):
        return await export_xpcs(mimetype, run, metadata, filter_for_access)
    content: memoryview = await serialize_hdf5(mimetype, run, metadata, filter_for_access)
    return content


async def export_xpcs(
    mimetype: str,  # noqa: ARG001 - Tiled's protocol
    run: Any,
    metadata: Metadata,
    filter_for_access: FilterForAccess,
) -> bytes:
    """An analysis run as a result file.

    Raises
    ------
    SerializationError
        The run holds no result, or not all of it: HTTP 406 with the reason.
    """
    try:
        run = await filter_for_access(run)
        streams = await _streams(run, metadata)
        raw = await _raw_run(run, metadata, filter_for_access)
        record = run_record(metadata["start"], streams, raw)
        content: bytes = await ensure_awaitable(xpcs_bytes, record)
    except ApsdmError as error:
        raise SerializationError(f"{_name(metadata)}: {error}") from error
    return content


def _is_result(metadata: Metadata) -> bool:
    start = metadata.get("start")
    return isinstance(start, Mapping) and "raw_uid" in start and start.get("purpose") == "xpcs"


def _name(metadata: Metadata) -> str:
    return f"run {metadata['start'].get('uid')}" if _is_result(metadata) else "this run"


async def _streams(run: Any, metadata: Metadata) -> dict[str, dict[str, Any]]:
    """The data of the result's streams; without one, why there is none."""
    if not _is_result(metadata):
        raise FormatError("is no XPCS analysis; export a run of /processed whose purpose is 'xpcs'")
    present = set(await run.keys_range(offset=0, limit=None))
    stop = metadata.get("stop") or {}
    if "primary" not in present and stop.get("exit_status") != "success":
        state = (
            f"it ended with {stop['exit_status']!r} ({stop.get('reason')})" if stop else "it has not ended"
        )
        raise FormatError(f"there is no result: {state}")
    return {
        name: await _event(await run.lookup_adapter([name]), name) for name in _STREAMS if name in present
    }


async def _event(stream: Any, name: str) -> dict[str, Any]:
    """The data of a stream's only event: scalars stand in a table, arrays beside it."""
    data: dict[str, Any] = {}
    for key in await stream.keys_range(offset=0, limit=None):
        part = await stream.lookup_adapter([key])
        content = await part.read()
        if part.structure_family == "table":
            rows = content.to_dict(orient="records")
            data.update({} if len(rows) != 1 else rows[0])
        else:
            rows = content
            data[key] = content[0] if len(content) else None
        if len(rows) != 1:
            raise FormatError(f"stream {name!r} has {len(rows)} events; a result has one")
    return data


async def _raw_run(run: Any, metadata: Metadata, filter_for_access: FilterForAccess) -> RawRun | None:
    """Documents of the raw run; None where it is not in the catalogue, or not for this caller."""
    root = type(run)(run.context, RootNode(None, None, None))
    try:
        runs = await filter_for_access(await root.lookup_adapter(["raw"]))
        raw = await runs.lookup_adapter([str(metadata["start"]["raw_uid"])])
    except NoEntry:
        return None
    documents = raw.metadata()
    return RawRun(
        start=documents.get("start") or {},
        stop=documents.get("stop") or {},
        configuration=await _configuration(raw),
    )


async def _configuration(raw: Any) -> dict[str, Any]:
    """Of all devices in the primary stream; empty where there is no such stream."""
    try:
        descriptor = (await raw.lookup_adapter(["primary"])).metadata()
    except NoEntry:
        return {}
    devices = (descriptor.get("configuration") or {}).values()
    return {key: value for device in devices for key, value in device.get("data", {}).items()}
