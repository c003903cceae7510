"""The definitions that jobs run, every version of them."""

import dataclasses
import logging
import time
from collections.abc import Collection, Sequence

import sqlalchemy as sa

from apsdm_bluesky.database import Database
from apsdm_bluesky.errors import WorkflowError
from apsdm_bluesky.workflows._check import check
from apsdm_bluesky.workflows._definition import Workflow
from apsdm_bluesky.workflows._yaml import format_workflow, parse_workflow

from ._tables import definitions

log = logging.getLogger(__name__)

_MOST_SHOWN = 5


class Definitions:
    """Workflows by owner, name and version; see `JobStore` for what is raised besides."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._parsed: dict[tuple[str, str, int], Workflow] = {}  # a version is never changed

    def add(self, workflow: Workflow, *, actor: str, remotes: Collection[str] = ()) -> Workflow:
        """Keep a definition, as the next version of its name; the same as the last one changes nothing.

        Returns
        -------
        The workflow with the version that it has.

        Raises
        ------
        WorkflowError
            `check` finds faults in it; the message tells them.
        """
        faults = check(workflow, remotes=remotes)
        if faults:
            more = f"; and {len(faults) - _MOST_SHOWN} more" if len(faults) > _MOST_SHOWN else ""
            told = "; ".join(str(fault) for fault in faults[:_MOST_SHOWN])
            raise WorkflowError(f"workflow {workflow.name!r}: {told}{more}")
        with self._database.begin() as connection:
            if connection.dialect.name == "postgresql":  # two that add at once count one after the other
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4157)")
            last, text = self._last(connection, workflow.owner, workflow.name)
            same = dataclasses.replace(workflow, version=last)
            if last and format_workflow(same) == text:
                return same
            kept = dataclasses.replace(workflow, version=last + 1)
            values = {"owner": kept.owner, "name": kept.name, "version": kept.version}
            content = {"text": format_workflow(kept), "added": time.time(), "actor": actor}
            connection.execute(sa.insert(definitions).values(values | content))
        return kept

    def get(self, name: str, *, owner: str | None = None, version: int | None = None) -> Workflow:
        """A workflow; its last version where none is given.

        Raises
        ------
        WorkflowError
            There is none, or several owners have one of that name.
        """
        owner = self._owner(name) if owner is None else owner
        if version is not None and (owner, name, version) in self._parsed:
            return self._parsed[owner, name, version]
        with self._database.read() as connection:
            number, text = self._last(connection, owner, name, version)
        if not number:
            which = "" if version is None else f" version {version}"
            raise WorkflowError(f"workflow {owner}/{name}{which} is not known; see 'apsdm workflow ls'")
        found = parse_workflow(text, source=f"workflow {owner}/{name} version {number}")
        self._parsed[owner, name, number] = found
        return found

    def list(self) -> Sequence[Workflow]:
        """The last version of each, by owner and name; one that cannot be read is told in the log instead."""
        newest = sa.select(definitions.c.owner, definitions.c.name, sa.func.max(definitions.c.version))
        with self._database.read() as connection:
            keys = connection.execute(newest.group_by(definitions.c.owner, definitions.c.name)).all()
        found = []
        for owner, name, version in sorted(keys):
            try:
                found.append(self.get(name, owner=owner, version=version))
            except WorkflowError as error:  # of a newer version of this package, perhaps
                log.warning("%s", error)
        return found

    def versions(self, name: str, *, owner: str | None = None) -> "Sequence[tuple[int, float, str]]":
        """Number, time [s since the Unix epoch] and actor of each version, the first one first."""
        owner = self._owner(name) if owner is None else owner
        query = sa.select(definitions.c.version, definitions.c.added, definitions.c.actor)
        query = query.where(definitions.c.owner == owner, definitions.c.name == name)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(definitions.c.version)).all()
        return [(row.version, row.added, row.actor) for row in rows]

    def _owner(self, name: str) -> str:
        query = sa.select(definitions.c.owner).where(definitions.c.name == name).distinct()
        with self._database.read() as connection:
            owners = sorted(connection.execute(query).scalars())
        if not owners:
            raise WorkflowError(f"workflow {name!r} is not known; see 'apsdm workflow ls'")
        if len(owners) > 1:
            raise WorkflowError(f"workflow {name!r} is owned by {', '.join(owners)}: write OWNER/{name}")
        return str(owners[0])

    @staticmethod
    def _last(
        connection: sa.Connection, owner: str, name: str, version: int | None = None
    ) -> tuple[int, str]:
        """Number and text of a version, by default the last; 0 and '' where there is none."""
        query = sa.select(definitions.c.version, definitions.c.text)
        query = query.where(definitions.c.owner == owner, definitions.c.name == name)
        if version is not None:
            query = query.where(definitions.c.version == version)
        row = connection.execute(query.order_by(definitions.c.version.desc()).limit(1)).one_or_none()
        return (0, "") if row is None else (row.version, row.text)
