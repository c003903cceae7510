"""The agent: the process that brings spooled runs into the catalogue and the archive, whatever happens to it.

Its state lies in the state folder alone. Killed at any instant, it goes on where it stood.
"""

from ._agent import Agent, archive_places, open_transfers
from ._executors import remote_folder
from ._jobs import add_shipped, jobs_thread
from ._process import agent_process, run_agent
from ._status import agent_runs, archive_status

__all__ = [
    "Agent",
    "add_shipped",
    "agent_process",
    "agent_runs",
    "archive_places",
    "archive_status",
    "jobs_thread",
    "open_transfers",
    "remote_folder",
    "run_agent",
]
