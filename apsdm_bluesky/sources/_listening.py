"""Where a PVA server of this process listens."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["INTERFACES", "listening_at"]

INTERFACES = "EPICS_PVAS_INTF_ADDR_LIST"


@contextmanager
def listening_at(interface: str) -> Iterator[None]:
    """Servers that are made inside listen at this address: pvAccess reads it from the environment then."""
    before = os.environ.get(INTERFACES)
    os.environ[INTERFACES] = interface
    try:
        yield
    finally:
        if before is None:
            del os.environ[INTERFACES]
        else:
            os.environ[INTERFACES] = before
