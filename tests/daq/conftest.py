"""One agent for the stories that leave it alive, and a bench for those that do not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daq.bench import Bench, Experiment
from tests.postgres import postgres_server, postgres_url
from tests.servers import tiled_server

__all__ = ["postgres_server", "postgres_url", "tiled_server"]


@pytest.fixture(scope="session")
def working_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """With an agent that works."""
    bench = Bench(tmp_path_factory.mktemp("daqs"))
    with bench.agent():
        yield bench
    bench.close()


@pytest.fixture
def experiment(working_bench: Bench) -> Experiment:
    """A new one, for which an agent works."""
    return working_bench.experiment()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Without an agent."""
    bench = Bench(tmp_path)
    yield bench
    bench.close()
