import pytest

from apsdm_bluesky.workflows.jobs import JobStore
from tests.postgres import postgres_server, postgres_url
from tests.workflows.jobs.samples import running

__all__ = ["postgres_server", "postgres_url"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with running(tmp_path_factory.mktemp("beamline")) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
def store(request, tmp_path):
    url = None if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    made = JobStore(tmp_path / "jobs", url)
    yield made
    made.close()
