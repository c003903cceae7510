"""Conformance suites: what every implementation of a protocol must pass, real or simulated.

Inherit a suite in a pytest module. Each is loaded when first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._transfer import TransferConformance

__all__ = ["TransferConformance"]


def __getattr__(name: str) -> Any:
    if name != "TransferConformance":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ._transfer import TransferConformance

    return TransferConformance
