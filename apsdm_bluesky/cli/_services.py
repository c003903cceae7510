"""The server and the agent that a command needs: those that run already, or its own while it lasts."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from apsdm_bluesky.agent import agent_process, agent_runs
from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.tiled_config import running_server, server_key, server_process


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What a command found or started.

    Parameters
    ----------
    uri
        Of the Tiled server.
    own_server
        Whether it ends with the command.
    """

    uri: str
    own_server: bool


@contextmanager
def services(config: BeamlineConfig, *, any_port: bool = False) -> Iterator[Services]:
    """A Tiled server and an agent for this beamline. Those that run already are used and left running.

    Parameters
    ----------
    any_port
        A server that must be started takes a free port, so that a port in use is no obstacle.
    """
    with ExitStack() as stack:
        uri = config.server.uri or running_server(config)
        own = uri is None
        if uri is None:
            server = config.server.model_copy(update={"port": 0}) if any_port else config.server
            uri = stack.enter_context(server_process(config.model_copy(update={"server": server}))).uri
        if not agent_runs(config):
            stack.enter_context(agent_process(config, uri=uri, api_key=server_key(config)))
        yield Services(uri=uri, own_server=own)
