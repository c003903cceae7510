"""The calls to Globus Compute that are needed, with errors that a caller of this package knows."""

import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from apsdm_bluesky.config import GlobusComputeConfig
from apsdm_bluesky.durable import make_folder, sync
from apsdm_bluesky.errors import ApsdmError, ServiceError, StorageError
from apsdm_bluesky.transfer import (
    LOGIN_COMMAND,
    GlobusSession,
    ask_login,
    login_needed,
    open_app,
    patience,
    reason_of,
)

from ._globus_compute_wire import FUNCTION, function_code, function_digest, payload

if TYPE_CHECKING:
    from globus_sdk import ComputeClientV2, ComputeClientV3, GlobusAPIError, GlobusApp

Kind = TypeVar("Kind")
_PLACE = "workflows.remotes"
_OVER = frozenset({"success", "failed"})
_RUNNING = frozenset({"running", "execution-start", "execution-end", "result-received", "result-enqueued"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CallState:
    """What Compute tells of a call.

    Parameters
    ----------
    status
        In its words; '' where it does not know the call (any more).
    failure
        Why it failed, in one line; '' where it did not.
    """

    status: str = ""
    failure: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing comes any more."""
        return not self.status or self.status in _OVER

    @property
    def is_running(self) -> bool:
        """Whether a worker has begun with it."""
        return self.status in _RUNNING


class ComputeClients:
    """Both versions of the service: each has calls that the other lacks."""

    def __init__(self, app: "GlobusApp") -> None:
        import globus_sdk

        self.v2: ComputeClientV2 = globus_sdk.ComputeClientV2(app=app, **patience())
        self.v3: ComputeClientV3 = globus_sdk.ComputeClientV3(app=app, **patience())

    def close(self) -> None:
        """Close the connections."""
        self.v2.close()
        self.v3.close()


class ComputeService(GlobusSession[ComputeClients]):
    """Globus Compute, see `GlobusSession` for the errors of every method."""

    def __init__(self, config: GlobusComputeConfig, folder: Path) -> None:
        super().__init__(
            lambda: _open(config, folder),
            lambda error, subject: _refusal(error, subject, config.login),
            lambda reason: login_needed(reason, config.login, _PLACE),
            folder=folder,
        )
        self._config = config
        self._known = folder / "function.json"

    def submit(self, group: str, request: dict[str, Any]) -> str:
        """Call our function; returns the id of the call. Each submission is another call."""
        function = self._function()
        data = {"create_queue": False, "task_group_id": group, "tasks": {function: [payload(request)]}}
        if self._config.endpoint_config:
            data["user_endpoint_config"] = self._config.endpoint_config
        try:
            with self.asking(f"endpoint {self._config.endpoint}") as clients:
                answer = _document(clients.v3.submit(self._config.endpoint, data))
        except ServiceError:
            raise
        except ApsdmError:
            self._known.unlink(missing_ok=True)  # somebody may have removed the function
            raise
        calls = _fit(answer.get("tasks"), dict).get(function)
        if not isinstance(calls, list) or len(calls) != 1:
            raise ServiceError("Globus Compute answers without the id of the call; looked for later")
        return str(calls[0])

    def find(self, group: str) -> tuple[str, ...]:
        """The ids of the calls of a task group."""
        import globus_sdk

        with self.asking(f"task group {group}") as clients:
            try:
                tasks = _fit(_document(clients.v2.get_task_group(group)).get("tasks"), list)
            except globus_sdk.GlobusAPIError as error:
                if error.http_status == 404:  # no call arrived
                    return ()
                raise
        return tuple(str(_fit(task, dict).get("id")) for task in tasks)

    def states(self, calls: tuple[str, ...]) -> dict[str, CallState]:
        """What Compute tells of each call."""
        with self.asking(f"endpoint {self._config.endpoint}") as clients:
            told = _fit(_document(clients.v2.get_task_batch(calls)).get("results"), dict)
        return {call: _state(_fit(told.get(call), dict)) for call in calls}

    def trouble(self) -> str:
        """Why the endpoint does not take calls up now; '' where it does."""
        with self.asking(f"endpoint {self._config.endpoint}") as clients:
            status = _document(clients.v2.get_endpoint_status(self._config.endpoint)).get("status")
        return "" if status == "online" else f"endpoint {self._config.endpoint} is {status or 'silent'}"

    def _function(self) -> str:
        """The id of our function, registered once by each version of it."""
        if self._config.function is not None:
            return self._config.function
        digest = function_digest()
        known = self._read_known()
        if known.get("digest") == digest:
            return str(known["function"])
        with self.asking(f"function {FUNCTION}") as clients:
            data = {
                "function_name": FUNCTION,
                "function_code": function_code(),
                "serialized": True,
                "meta": {"python_version": platform.python_version(), "serde_identifier": "st"},
                "description": "runs a stage of a workflow of apsdm-bluesky",
            }
            function = str(_document(clients.v3.register_function(data))["function_uuid"])
        self._keep({"digest": digest, "function": function})
        return function

    def _read_known(self) -> dict[str, Any]:
        try:
            known = json.loads(self._known.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        except OSError as error:
            raise StorageError(f"{self._known}: {error.strerror}; give permission") from error
        return known if isinstance(known, dict) else {}

    def _keep(self, known: dict[str, str]) -> None:
        part = self._known.with_suffix(".new")
        try:
            make_folder(self._known.parent)
            part.write_text(json.dumps(known), encoding="utf-8")
            sync(part)
            part.replace(self._known)
        except OSError as error:
            raise StorageError(f"{self._known}: {error.strerror}; free space, give permission") from error


def log_in_compute(config: GlobusComputeConfig, *, folder: Path, domains: tuple[str, ...] = ()) -> None:
    """Let a person log in at the terminal, and keep the tokens for `GlobusCompute` with the same `folder`.

    Raises
    ------
    ApsdmError
        The login did not succeed, or a service account is configured, which needs none.
    """
    if config.login != "user":
        raise ApsdmError(f"{_PLACE}: its login is 'service': it logs in by itself")
    app, clients = _open(config, folder)
    try:
        ask_login(app, domains)
    finally:
        clients.close()
        app.close()


def _open(config: GlobusComputeConfig, folder: Path) -> "tuple[GlobusApp, ComputeClients]":
    app = open_app(config, folder, place=_PLACE)
    return app, ComputeClients(app)


def _refusal(error: "GlobusAPIError", subject: str, login: str) -> ApsdmError:
    reason = reason_of(error)
    if error.http_status == 401 or "invalid_" in reason:
        return login_needed(reason, login, _PLACE)
    if error.info.authorization_parameters or error.info.consent_required:
        advice = f"log in with what it asks for: '{LOGIN_COMMAND}'"
    elif error.http_status == 403:
        advice = "have its owner permit this login, and our function where it has a list of functions"
    else:
        advice = f"check 'endpoint' and 'function' in {_PLACE}"
    return ApsdmError(f"{subject}: Globus Compute refuses it ({reason}); {advice}, then run it again")


def _state(told: dict[str, Any]) -> CallState:
    status = str(told.get("status", "")).lower()
    lines = str(told.get("exception") or told.get("reason") or "").split("\n")
    failure = next((line.strip() for line in reversed(lines) if line.strip()), "it tells no reason")
    return CallState(status=status, failure=failure[:300] if status == "failed" else "")


def _fit(value: Any, kind: type[Kind]) -> Kind:
    """A part of an answer; an empty one where it is null or not there."""
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise ServiceError("Globus Compute answers unexpectedly; asked again later")
    return value


def _document(response: Any) -> dict[str, Any]:
    if not isinstance(response.data, dict):
        raise ServiceError("Globus Compute answers with no JSON object; asked again later")
    return response.data
