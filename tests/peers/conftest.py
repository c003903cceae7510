"""Comparisons with other programs, which they install: `make test-boost-corr`."""

from pathlib import Path

import pytest

from tests.servers import tiled_server
from tests.shipped import job_store, shipped_config, shipped_run

__all__ = ["job_store", "shipped_config", "shipped_run", "tiled_server"]

HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Only where this folder, or a file in it, is named."""
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    return None if any(path.is_relative_to(HERE) for path in named) else True
