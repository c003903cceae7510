"""Recording a device's channel while an acquisition lasts."""

from dataclasses import asdict
from pathlib import Path

from apsdm_bluesky.model import AcquisitionLedger, Batch, ConsumerLedger
from apsdm_bluesky.sources import PvaSource, Recorder
from apsdm_bluesky.streaming import AcquisitionInfo


class StreamRecording:
    """A consumer that takes no frames: it lends the source a recorder from the first to the last of them.

    Parameters
    ----------
    source
        Whose updates are kept, as they come.
    path
        The recording to be made.
    """

    def __init__(self, device_name: str, source: PvaSource, path: Path) -> None:
        self.name = f"{device_name} recording"
        self.path = path
        self._source = source
        self._recorder: Recorder | None = None

    @property
    def fault(self) -> str:
        """What is missing in the recording; empty where nothing is."""
        recorder = self._recorder
        return f"recording: {recorder.lost} updates lost" if recorder is not None and recorder.lost else ""

    def begin(self, info: AcquisitionInfo) -> None:
        """Open the file. What comes from now on is recorded."""
        description = {"channel": self._source.channel_name, "acquisition": asdict(info)}
        self._recorder = self._source.record = Recorder(self.path, description)

    def consume(self, batch: Batch) -> None:
        """Decoded frames are not what is recorded."""

    def end(self, acquisition: AcquisitionLedger, fate: ConsumerLedger) -> None:  # noqa: ARG002 - protocol
        """Close the file."""
        self._source.record = None
        if self._recorder is not None:
            self._recorder.close(ledger=asdict(acquisition))
