"""The Tiled server, and the channels with running results."""

from typing import Annotated

from pydantic import Field

from ._base import Model, Port


class ServerConfig(Model):
    """The Tiled server: where ours listens, or the address of one that somebody else runs."""

    host: str = "127.0.0.1"
    port: Port = 8020
    uri: Annotated[str, Field(pattern=r"^https?://[^/\s]+")] | None = Field(
        None, description="use this server and start none; its key comes from TILED_API_KEY"
    )
    dm_ports: tuple[Port, ...] = Field(
        (), description="where DM's clients find us beside `port`; those of DM: 11337, 22237, 33336, 55536"
    )


class LiveOutputConfig(Model):
    """Running results as PVA channels, for EPICS displays."""

    enabled: bool = True
    interface: Annotated[str, Field(pattern=r"^\d{1,3}(\.\d{1,3}){3}$")] = Field(
        "127.0.0.1", description="IPv4 address to listen at; 0.0.0.0: every interface"
    )
