"""Triggers of workflows, made where they cannot be lost: in the spool, beside the run's documents."""

from collections.abc import Mapping, Sequence
from typing import Any

from apsdm_bluesky.config import TriggerConfig
from apsdm_bluesky.spool import SpoolSession
from apsdm_bluesky.workflows import NOTE, check_rules, rules_to_note


class WorkflowTrigger:
    """A callback that notes with each run's start which rules may start a workflow when it ends.

    The rules themselves are noted: a later change of the configuration does not change what was asked. The
    run's stop document makes them effective: the agent finds both in the spool, and starts the jobs. Nothing
    here waits for a database or a network. Subscribe it after `CatalogWriter`, which makes the run's file.

    Parameters
    ----------
    session
        The session's spool.
    rules
        ``config.workflows.triggers``.

    Raises
    ------
    ConfigError
        A rule's condition or argument cannot be read.
    FormatError, StorageError
        The note cannot be stored. The RunEngine aborts the run then, at its start.
    """

    def __init__(self, session: SpoolSession, rules: Sequence[TriggerConfig]) -> None:
        check_rules(rules)
        self._session = session
        self._rules = rules

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Note the rules of a run."""
        if name == "start" and (rules := rules_to_note(self._rules, doc)):
            self._session.note(doc["uid"], NOTE, {"rules": rules})
