import pytest

from apsdm_bluesky.experiments import ExperimentStore
from tests.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request):
    """Where the list is kept."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def open_store(url, tmp_path):
    """Opens a list; called again, another client of it."""
    opened = []

    def make(station="8-ID-I", root=tmp_path / "data"):
        opened.append(ExperimentStore(tmp_path / "experiments", url, root=root, station=station))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store):
    return open_store()
