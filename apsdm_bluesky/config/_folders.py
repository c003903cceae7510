"""Where a beamline's state lies."""

from pathlib import Path

from ._base import Model


class StateFolders(Model):
    """The places under the state folder. Only names: nothing is created here."""

    root: Path

    @property
    def spool(self) -> Path:
        """Documents, one folder a session."""
        return self.root / "spool"

    @property
    def catalog(self) -> Path:
        """The Tiled server's databases and its API key."""
        return self.root / "catalog"

    @property
    def raw(self) -> Path:
        """Raw frames written by devices."""
        return self.root / "raw"

    @property
    def spill(self) -> Path:
        """Frames that wait on disk for a slow consumer, in files without a name."""
        return self.root / "spill"

    @property
    def archive(self) -> Path:
        """The archive's ledger and the bundles under construction."""
        return self.root / "archive"

    @property
    def globus(self) -> Path:
        """Tokens of the login to Globus, and what was asked of it."""
        return self.archive / "globus"

    @property
    def tape(self) -> Path:
        """The local folder that stands in for the tape store."""
        return self.root / "tape"

    @property
    def stream(self) -> Path:
        """Results and ledgers of the series that `apsdm stream` takes."""
        return self.root / "stream"

    @property
    def jobs(self) -> Path:
        """Jobs of workflows: their records, and a folder for each."""
        return self.root / "jobs"

    @property
    def experiments(self) -> Path:
        """The list of experiments, and which one is the current one."""
        return self.root / "experiments"

    @property
    def data(self) -> Path:
        """The files of experiments, a folder for each."""
        return self.root / "data"

    @property
    def daq(self) -> Path:
        """DAQs and uploads: which files are seen, copied and handed on."""
        return self.root / "daq"

    @property
    def logs(self) -> Path:
        """Log files of the processes that `apsdm` starts."""
        return self.root / "logs"
