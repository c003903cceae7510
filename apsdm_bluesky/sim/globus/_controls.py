"""What the owner of a stand-in may see and change."""

from abc import ABC, abstractmethod
from typing import Any, Literal, cast

from ._identity import Identity

__all__ = ["CollectionName", "Controls"]

CollectionName = Literal["local", "tape"]
Document = dict[str, Any]


class Controls(ABC):
    """The control calls of a stand-in that runs. Each raises `ServiceError` when refused or not answered."""

    @property
    @abstractmethod
    def identity(self) -> Identity:
        """Ids and secrets."""

    @abstractmethod
    def _control(self, action: str, **parameters: Any) -> Any:
        """Do an action of `ControlRoutes`."""

    # What its owner sees

    def tasks(self) -> list[Document]:
        """Every task, the oldest first, with its ``submission_id`` and ``items``."""
        return cast("list[Document]", self._control("tasks"))

    def events(self, task_id: str) -> list[Document]:
        """Events of a task, the newest first."""
        return cast("list[Document]", self._control("events", task_id=task_id))

    def faults_hit(self, route: str | None = None) -> list[Document]:
        """Every planned fault that struck: ``route``, ``subject`` (URL path, or task and file), ``plan``."""
        hits = cast("list[Document]", self._control("faults_hit"))
        return [hit for hit in hits if route in (None, hit["route"])]

    def residency(self, path: str, collection: CollectionName = "tape") -> str:
        """``disk`` or ``tape``: the truth, which no API of Globus tells."""
        return str(self._control("residency", collection=collection, path=path))

    def calls(self) -> list[Document]:
        """Every call of a function at Globus Compute, the oldest first."""
        return cast("list[Document]", self._control("calls"))

    # What its owner changes; all of it is kept across restarts

    def configure(self, **changes: Any) -> None:
        """Change the `Behaviour`."""
        self._control("configure", **changes)

    def reset(self) -> None:
        """Undo every change of its owner and cancel what is unfinished; tasks, files and ids stay."""
        self._control("reset")

    def fault(self, route: str, **plan: Any) -> None:
        """Plan a fault: the parameters of `FaultPlan`."""
        self._control("fault", route=route, **plan)

    def clear_faults(self) -> None:
        """Forget planned faults and the log of their hits."""
        self._control("clear_faults")

    def quota(self, collection: CollectionName, quota_bytes: int | None) -> None:
        """Limit the bytes of a collection's files; None: no limit."""
        self._control("policy", collection=collection, quota_bytes=quota_bytes)

    def require_consent(self, collection: CollectionName, *, required: bool = True) -> None:
        """Refuse callers that have not consented to ``data_access``."""
        self._control("policy", collection=collection, consent=required)

    def forget_consents(self) -> None:
        """Withdraw every consent that was given."""
        self._control("forget_consents")

    def require_session(self, collection: CollectionName, domains: list[str] | None) -> None:
        """Refuse callers until they log in with one of these domains, which no call can do; None: allow."""
        self._control("policy", collection=collection, session_domains=domains)

    def pause(
        self,
        collection: CollectionName,
        message: str = "paused for maintenance",
        status: Literal["INACTIVE", "ACTIVE"] = "INACTIVE",
    ) -> None:
        """Pause every task of a collection, by a rule of its administrator.

        Clients in use report INACTIVE with ``PAUSED_BY_ADMIN``; by the service's documentation only expired
        credentials make a task INACTIVE, and a pause shows in ``is_paused`` only. `status` gives either.
        """
        self._control("pause", collection=collection, message=message, status=status)

    def resume(self, collection: CollectionName) -> None:
        """Lift the pause."""
        self._control("policy", collection=collection, pause=None)

    def expire_credentials(self, collection: CollectionName, *, expired: bool = True) -> None:
        """Make tasks of a collection INACTIVE until the credentials are renewed (`expired` false)."""
        self._control("policy", collection=collection, credentials_expired=expired)

    def revoke_tokens(self, *, refresh: bool = False) -> None:
        """Revoke all access tokens, and with `refresh` the refresh tokens."""
        self._control("revoke_tokens", refresh=refresh)

    def delete_client(self, *, deleted: bool = True) -> None:
        """Delete the service account with its tokens, or bring it back."""
        self._control("delete_client", client_id=self.identity.client_id, deleted=deleted)

    def flip_bit(self, path: str, collection: CollectionName = "tape", *, offset: int | None = None) -> None:
        """Flip a bit of a file at a byte offset (None: its middle); stored checksum and time stay."""
        self._control("spoil", collection=collection, path=path, offset=offset, truncate=False)

    def truncate(self, path: str, collection: CollectionName = "tape") -> None:
        """Cut a file to half its size."""
        self._control("spoil", collection=collection, path=path, offset=None, truncate=True)

    def migrate(self, path: str, collection: CollectionName = "tape") -> None:
        """Move a file from the disk tier to tape now."""
        self._control("migrate", collection=collection, path=path)

    def stage(self, path: str, collection: CollectionName = "tape") -> None:
        """Bring a file from tape to the disk tier now."""
        self._control("stage", collection=collection, path=path)

    def purge(self, task_id: str) -> None:
        """Forget a task: it answers 404, and is in no list."""
        self._control("purge", task_id=task_id)

    def fail(
        self, task_id: str, code: str = "CANCELED_BY_ADMIN", details: str = "by an administrator"
    ) -> None:
        """End a task as FAILED."""
        self._control("fail", task_id=task_id, code=code, details=details)

    def compute_endpoint(self, *, online: bool = True, permitted: bool = True) -> None:
        """Take the endpoint of Globus Compute off line, or refuse callers; by default neither."""
        self._control("compute_endpoint", online=online, permitted=permitted)

    def forget_calls(self) -> None:
        """Forget calls and what they gave, as Globus Compute does after a while; processes go on."""
        self._control("forget_calls")

    def forget_functions(self) -> None:
        """Remove the functions that were registered with Globus Compute, as their owner may."""
        self._control("forget_functions")
