"""Errors in the shapes of the two services."""

import secrets
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

__all__ = ["ApiError", "OAuthError", "answer_api_error", "answer_oauth_error", "bad_request", "request_id"]


class ApiError(Exception):
    """An answer of Globus Transfer that is no success.

    Its body has ``code``, ``message``, ``request_id`` and ``resource``, as in the SDK's test data
    (``globus_sdk.testing.data.transfer``).
    """

    def __init__(
        self, status: int, code: str, message: str, *, headers: dict[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers, self.extra = headers or {}, extra


class OAuthError(Exception):
    """An answer of Globus Auth that is no success; ``error`` as in RFC 6749 section 5.2."""

    def __init__(self, status: int, error: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.error, self.detail = status, error, detail


def bad_request(message: str) -> ApiError:
    """A request that the service does not understand or does not accept."""
    return ApiError(400, "ClientError.BadRequest", message)


def request_id() -> str:
    """Nine letters and digits, like ``oUAA6Sq2P``."""
    return secrets.token_urlsafe(9).replace("-", "a").replace("_", "b")[:9]


def answer_api_error(request: Request, error: ApiError) -> JSONResponse:
    """The body of an error of Globus Transfer."""
    body = {
        "code": error.code,
        "message": error.message,
        "request_id": request_id(),
        "resource": request.url.path,
        **error.extra,
    }
    return JSONResponse(body, status_code=error.status, headers=error.headers)


def answer_oauth_error(error: OAuthError) -> JSONResponse:
    """The body of an error of Globus Auth: ``globus_sdk.testing.data.auth._common``."""
    code = error.error.upper()
    body = {
        "error": error.error,
        "error_description": error.detail,
        "errors": [
            {
                "id": str(uuid.uuid4()),
                "status": str(error.status),
                "code": code,
                "title": code.replace("_", " ").capitalize(),
                "detail": error.detail,
            }
        ],
    }
    return JSONResponse(body, status_code=error.status)
