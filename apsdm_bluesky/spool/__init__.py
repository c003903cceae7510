"""Documents on disk: written durably by a session, delivered to Tiled, adopted when their session is gone.

`Spool` is the folder with one locked sub-folder a session; `RunFile` reads one run back; `Delivery` (loaded
when first used, because it brings the Tiled client) sends a session's runs to the server.
"""

from typing import TYPE_CHECKING, Any

from ._runfile import RunFile
from ._session import SpoolSession
from ._spool import Spool

if TYPE_CHECKING:
    from ._delivery import Delivery

__all__ = ["Delivery", "RunFile", "Spool", "SpoolSession"]


def __getattr__(name: str) -> Any:
    if name != "Delivery":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ._delivery import Delivery

    return Delivery
