"""The fates of a device's frames as a Bluesky readable: the run's `ledger` stream."""

import json
import time
from typing import TYPE_CHECKING, Any

from apsdm_bluesky.model import AcquisitionLedger, ConsumerLedger

from ._storage import FileRow

if TYPE_CHECKING:
    from collections.abc import Callable

_COUNTS = (
    "expected",
    "accepted",
    "corrupt",
    "missing",
    "updates",
    "duplicate",
    "stale",
    "out_of_order",
    "base_id",
    "first_id",
    "last_id",
)


class LedgerReadable:
    """Reads as numbers named ``<device>_<count>``; ``<device>_gaps`` is JSON: [[first, length], ...].

    ``<device>_files`` is JSON: [[path under the raw folder, bytes, sha256], ...] of every file stored.
    ``<device>_plugin_dropped_arrays`` counts what the IOC's PVA plug-in dropped; -1: the IOC does not answer.
    """

    parent = None

    def __init__(self, device_name: str, accounts: "Callable[[], Accounts]") -> None:
        self.name = f"{device_name}_ledger"
        self._device_name = device_name
        self._accounts = accounts

    def read(self) -> dict[str, dict[str, Any]]:
        """The account of the last acquisition."""
        now = time.time()
        return {
            f"{self._device_name}_{key}": {"value": value, "timestamp": now}
            for key, value in self._values().items()
        }

    def describe(self) -> dict[str, dict[str, Any]]:
        """Data keys, all scalars."""
        return {
            f"{self._device_name}_{key}": {
                "source": f"ledger:{self._device_name}",
                "dtype": "string" if isinstance(value, str) else "integer",
                "shape": [],
            }
            for key, value in self._values().items()
        }

    def read_configuration(self) -> dict[str, Any]:
        """Nothing to configure."""
        return {}

    def describe_configuration(self) -> dict[str, Any]:
        """Nothing to configure."""
        return {}

    def _values(self) -> dict[str, int | str]:
        acquisition, storage, dropped_by_plugin, files = self._accounts()
        return {
            **{key: getattr(acquisition, key) for key in _COUNTS},
            "gaps": json.dumps(acquisition.gaps),
            "stored": storage.done,
            "storage_dropped": storage.dropped,
            "storage_reason": storage.reason,
            "plugin_dropped_arrays": dropped_by_plugin,
            "files": json.dumps(files),
        }


Accounts = tuple[AcquisitionLedger, ConsumerLedger, int, list[FileRow]]
