"""The exceptions of this package, one tree. A class exists only where a caller branches on it.

The command line prints the message of an `ApsdmError` as one line and exits with 1; anything else that
escapes is a defect of this package.
"""


class ApsdmError(Exception):
    """Something a user can act on. The message says what failed, on which object, and what to do."""


class ConfigError(ApsdmError):
    """A configuration that cannot be used. The message names the file and the key."""


class FormatError(ApsdmError):
    """A file or message that is not what it should be: unknown format, truncated, wrong shape or dtype."""


class ReductionError(ApsdmError):
    """Frames or a q-map that a reduction cannot take. The acquisition goes on without it."""


class WorkflowError(ApsdmError):
    """A workflow's definition, or a job's variable, that cannot be used; who wrote or gave it can mend it."""


class DaqError(ApsdmError):
    """A DAQ or an upload that is not there, or cannot be as it was asked for; who asked can mend it."""


class ExperimentError(ApsdmError):
    """An experiment that is not known, or cannot be made as asked; who asked for it can mend it."""


class AcquisitionError(ApsdmError):
    """A detector that cannot be armed, does not answer, or stopped sending."""


class ServiceError(ApsdmError):
    """A server (Tiled, PVA, Globus) that does not answer, or answers what it should not."""


class StorageError(ApsdmError):
    """A folder or disk that cannot be written: no space, no permission."""


class LockedError(ApsdmError):
    """Another live process holds what is asked for. The message names the holder."""
