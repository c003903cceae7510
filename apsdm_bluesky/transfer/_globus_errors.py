"""What an exception of the Globus SDK means for the caller: try again later, or a person must act."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from apsdm_bluesky.errors import ApsdmError, ServiceError

from ._globus_login import LOGIN_COMMAND

if TYPE_CHECKING:
    from globus_sdk import GlobusAPIError

# 409 is an unfinished task for the same files, or too many of them.
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_FIRST_S = 0.5
_LONGEST_S = 600.0
_DAY_S = 86400.0


class Patience:
    """When Globus may be asked again: as `Retry-After` says, else after a pause that doubles each time.

    While it lasts, calls fail at once, without network: no thread is held up, and a storm is not fed.
    """

    def __init__(self) -> None:
        self._trouble = 0
        self._until = 0.0
        self._message = ""

    def check(self) -> None:
        """Raise `ServiceError` while the pause lasts."""
        if time.monotonic() < self._until:
            raise ServiceError(self._message)

    def trouble(self, reason: str, retry_after_s: float = 0.0) -> ServiceError:
        """Globus does not serve now; returns the error to raise."""
        self._trouble += 1
        pause = max(min(_FIRST_S * 2 ** min(self._trouble - 1, 20), _LONGEST_S), min(retry_after_s, _DAY_S))
        self._until = time.monotonic() + pause
        again = datetime.now(UTC) + timedelta(seconds=pause)
        self._message = f"Globus: {reason}; tried again at {again:%Y-%m-%d %H:%M:%S} UTC"
        return ServiceError(self._message)

    def reset(self) -> None:
        """Globus serves."""
        self._trouble = 0
        self._until = 0.0


def is_passing(error: "GlobusAPIError") -> bool:
    """Whether the same call may succeed later without anybody's help."""
    return error.http_status in _PASSING and not _denied(error)


def is_missing(error: "GlobusAPIError") -> bool:
    """Whether a path or task, not the collection itself, is not there."""
    code = str(error.code)
    return code.endswith("NotFound") and not code.endswith("EndpointNotFound")


def retry_after_s(error: "GlobusAPIError") -> float:
    """The header `Retry-After`, in seconds or as a date; 0 without."""
    value = str(error.headers.get("Retry-After", "")).strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def reason_of(error: Exception) -> str:
    """The error in one line: status, code, message."""
    status = getattr(error, "http_status", None)
    told = getattr(error, "raw_json", None) or {}  # Globus Compute tells a reason instead of a message
    text = getattr(error, "message", None) or told.get("reason") or str(error)
    parts = (str(status or ""), str(getattr(error, "code", None) or ""), " ".join(str(text).split())[:300])
    return " ".join(part for part in parts if part)


def refusal(error: "GlobusAPIError", *, login: str, subject: str) -> ApsdmError:
    """The instruction for a person, for an error that does not pass by itself.

    Parameters
    ----------
    login
        ``service`` or ``user``: whose credentials are used.
    subject
        What the call was about.
    """
    session = error.info.authorization_parameters
    consent = error.info.consent_required
    if consent or error.code == "ConsentRequired":
        return _consent(" ".join(consent.required_scopes or ()) or "the data_access scope", login, subject)
    if session:
        return _session(session, login, subject)
    if error.http_status == 401 or _is_grant(error):
        return login_needed(reason_of(error), login)
    if error.http_status == 403 or _denied(error):
        advice = "give this login read and write permission on the collection"
    else:
        advice = "check archive.globus in beamline.yml and 'apsdm doctor --globus'"
    return ApsdmError(f"{subject}: Globus refuses it ({reason_of(error)}); {advice}, then resume")


def login_needed(reason: str, login: str, place: str = "archive.globus") -> ApsdmError:
    """No valid credentials; `place` is where the login is configured in beamline.yml."""
    advice = (
        f"log in again: '{LOGIN_COMMAND}'"
        if login == "user"
        else f"check {place}.client_id, make a new secret where the client is registered"
    )
    return ApsdmError(f"Globus does not accept the login ({reason}); {advice}, then resume")


def _consent(scopes: str, login: str, subject: str) -> ApsdmError:
    advice = "set archive.globus.data_access for the mapped collection"
    advice += f", then run '{LOGIN_COMMAND}'" if login == "user" else " and start the agent again"
    return ApsdmError(f"{subject}: Globus needs consent for {scopes}; {advice}, then resume")


def _session(session: Any, login: str, subject: str) -> ApsdmError:
    domains = session.session_required_single_domain or []
    if login != "user":
        advice = "a service account cannot; use a guest collection, or archive.globus.login: user"
    else:
        options = "".join(f" --domain {domain}" for domain in domains[:1])
        advice = f"run '{LOGIN_COMMAND}{options}', then resume"
    wanted = f"an identity of {' or '.join(domains)}" if domains else "a fresh login"
    return ApsdmError(f"{subject}: the collection's policy needs {wanted}; {advice}")


def _is_grant(error: "GlobusAPIError") -> bool:
    return any(
        word in reason_of(error).lower()
        for word in ("invalid_grant", "invalid_client", "unauthorized_client")
    )


def _denied(error: "GlobusAPIError") -> bool:
    return "PermissionDenied" in str(error.code)
