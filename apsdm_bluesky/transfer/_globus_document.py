"""The transfer document that Globus gets for a stage of a request."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from apsdm_bluesky.config import GlobusConfig

from ._globus_ends import Ends
from ._globus_record import GlobusRecord, Stage
from ._protocol import Direction

_LABEL = 128
# What Globus takes in a label.
_NOT_IN_LABEL = re.compile(r"[^A-Za-z0-9 ,_-]+")


def transfer_data(config: GlobusConfig, ends: Ends, record: GlobusRecord) -> Any:
    """The `TransferData` of the record's stage; the label holds the submission id, so that it can be found.

    Nothing is taken on trust: checksums at both ends, no source skipped, no mail, and a deadline.
    """
    import globus_sdk

    sends = record.request.direction is Direction.SEND and record.stage is Stage.MOVE
    collections = (config.local_collection, config.collection)
    source, destination = collections if sends else reversed(collections)
    data = globus_sdk.TransferData(
        source,
        destination,
        label=label_of(record),
        submission_id=record.submission_id,
        sync_level="checksum",
        verify_checksum=True,
        skip_source_errors=False,
        fail_on_quota_errors=True,
        notify_on_succeeded=False,
        notify_on_failed=False,
        notify_on_inactive=False,
        deadline=datetime.now(UTC).replace(microsecond=0) + timedelta(hours=config.deadline_h),
    )
    for number in record.moved:
        _add(data, ends, record, number, sends=sends)
    return data


def label_of(record: GlobusRecord) -> str:
    """The request's label with the submission id, at most 128 characters."""
    words = _NOT_IN_LABEL.sub("-", record.request.label)[: _LABEL - len(record.submission_id) - 1]
    return f"{words} {record.submission_id}".strip()


def _add(data: Any, ends: Ends, record: GlobusRecord, number: int, *, sends: bool) -> None:
    """One file. The announced MD5 is not asked of what is only compared: a difference is no failure there."""
    item = record.request.items[number]
    compares = record.stage is Stage.COMPARE
    checksum = {"external_checksum": item.md5} if item.md5 is not None and not compares else {}
    if sends:
        data.add_item(ends.local(item.local), record.parts[number], **checksum)
    else:
        data.add_item(
            ends.remote(item.remote), ends.local(ends.local_part(record.request, number)), **checksum
        )
