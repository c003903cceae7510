"""DAQs and uploads as DM's clients read them."""

import socket
from typing import Any

from apsdm_bluesky.daq import Daq, DaqState

from ._answer import timestamp


def daq_record(daq: Daq) -> dict[str, Any]:
    """A DAQ or an upload, with how many of its files stand where."""
    counts, options, host = daq.counts, daq.options, socket.gethostname()
    seen = counts.waiting + counts.taken + counts.failed
    record: dict[str, Any] = {
        "id": daq.id,
        "owner": daq.owner,
        "status": str(daq.state),
        "experimentName": daq.experiment,
        "experimentStationName": daq.station,
        "dataDirectory": str(daq.source),
        "storageDirectory": str(daq.root / "data" / options.destination),
        "storageHost": host,
        "storageUrl": f"file://{host}{daq.root}",
        "countFiles": seen,
        "nProcessedFiles": counts.taken,
        "nProcessingErrors": counts.failed,
        "nWaitingFiles": counts.waiting,
        "percentageComplete": 100.0 * (counts.taken + counts.failed) / seen if seen else 0.0,
        "startTime": daq.created,
        "startTimestamp": timestamp(daq.created),
        "workflowJobOwner": daq.owner,
    }
    if options.exclude:
        record["skipFilePathPattern"] = ",".join(options.exclude)
    if options.include:
        record["filePathPattern"] = ",".join(options.include)
    if options.workflow is not None:
        record |= {"workflowName": options.workflow, "workflowOwner": options.workflow_owner}
    if daq.ended is not None:
        record |= {"endTime": daq.ended, "endTimestamp": timestamp(daq.ended)}
        record["runTime"] = daq.ended - daq.created
    if daq.reason:
        key = "errorMessage" if daq.state is DaqState.FAILED else "statusMessage"
        record[key] = daq.reason
    return record
