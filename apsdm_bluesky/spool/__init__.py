"""Documents on disk: written durably by a session, delivered to Tiled, adopted when their session is gone.

`Spool` is the folder with one locked sub-folder a session; `RunFile` reads one run back; `Delivery` sends a
session's runs to the server. `Delivery` and `open_client` bring the Tiled client: they are loaded late.
`write_durably` replaces any small file so.
"""

from typing import TYPE_CHECKING, Any

from ._disk import write_durably
from ._runfile import RunFile, run_file_name
from ._session import SpoolSession
from ._spool import Spool
from ._uris import file_uri, uri_path

if TYPE_CHECKING:
    from ._catalogue import open_client
    from ._delivery import Delivery

__all__ = [
    "Delivery",
    "RunFile",
    "Spool",
    "SpoolSession",
    "file_uri",
    "open_client",
    "run_file_name",
    "uri_path",
    "write_durably",
]


def __getattr__(name: str) -> Any:
    if name == "Delivery":
        from ._delivery import Delivery

        return Delivery
    if name == "open_client":
        from ._catalogue import open_client

        return open_client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
