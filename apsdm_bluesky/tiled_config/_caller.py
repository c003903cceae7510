"""Who asks: the gate sets it for each request, since Tiled tells an authenticator the name and password only."""

from contextvars import ContextVar

caller: ContextVar[str] = ContextVar("caller", default="unknown")
