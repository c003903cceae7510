"""Recording a device's channel while an acquisition lasts."""

from dataclasses import asdict
from pathlib import Path

from apsdm_bluesky.errors import StorageError
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
        self._failure = ""

    @property
    def fault(self) -> str:
        """What is missing in the recording; empty where nothing is."""
        if self._recorder is None:
            return self._failure
        lost = f"recording: {self._recorder.lost} messages lost" if self._recorder.lost else ""
        return "; ".join(filter(None, (lost, self._recorder.reason)))

    def begin(self, info: AcquisitionInfo) -> None:
        """Open the file. What comes from now on is recorded."""
        description = {"channel": self._source.channel_name, "acquisition": asdict(info)}
        try:
            self._recorder = self._source.record = Recorder(self.path, description)
        except StorageError as error:
            self._failure = str(error)
            raise

    def consume(self, batch: Batch) -> None:
        """Decoded frames are not what is recorded."""

    def end(self, acquisition: AcquisitionLedger, fate: ConsumerLedger) -> None:  # noqa: ARG002 - protocol
        """Close the file."""
        if self._recorder is not None:
            if self._source.record is self._recorder:  # the next acquisition may have lent its own by now
                self._source.record = None
            self._recorder.close(ledger=asdict(acquisition))
