"""The real SDK, pointed at the stand-in."""

import itertools
import random

import pytest
from globus_sdk import ClientApp, GlobusAppConfig, TransferAPIError, TransferClient, TransferData
from globus_sdk.token_storage import MemoryTokenStorage
from globus_sdk.transport import RetryConfig

from tests.waiting import wait_for

_numbers = itertools.count()


def client_app(globus, **config):
    """A service account. The environment must point to the stand-in."""
    return ClientApp(
        "tests",
        client_id=globus.client_id,
        client_secret=globus.client_secret,
        config=GlobusAppConfig(token_storage=MemoryTokenStorage(), **config),
    )


def transfer_client(globus, *, app=None, max_retries=0):
    """A client that does not retry by itself unless told to."""
    return TransferClient(app=app or client_app(globus), retry_config=RetryConfig(max_retries=max_retries))


def refused(call, *args, **kwargs):
    """The error of Globus Transfer that a call answers."""
    with pytest.raises(TransferAPIError) as caught:
        call(*args, **kwargs)
    return caught.value


class Copies:
    """Files and transfers between the two collections, each with a name of its own."""

    def __init__(self, globus, client):
        self.globus, self.client = globus, client

    def file(self, size=1000, collection="local"):
        """A new file; returns its collection path and content."""
        path = f"/file-{next(_numbers)}"
        content = random.randbytes(size)
        (self.globus.root(collection) / path[1:]).write_bytes(content)
        return path, content

    def data(self, source, target, *, back=False, item=None, **options):
        """A transfer document from local to tape, or `back`."""
        ends = [self.globus.collections[name] for name in ("local", "tape")]
        data = TransferData(*(reversed(ends) if back else ends), **options)
        data.add_item(source, target, **(item or {}))
        return data

    def submit(self, source, target, **options):
        """Submit; returns the task's id."""
        return self.client.submit_transfer(self.data(source, target, **options))["task_id"]

    def task(self, task_id):
        return self.client.get_task(task_id).data

    def wait(self, task_id, **wanted):
        """Wait until the task's document has these values; returns it."""

        def reached():
            task = self.task(task_id)
            return all(task[name] == value for name, value in wanted.items())

        wait_for(reached, message=f"task {wanted}")
        return self.task(task_id)

    def done(self, source, target, **options):
        """Submit, wait for SUCCEEDED, and return the task."""
        return self.wait(self.submit(source, target, **options), status="SUCCEEDED")

    def codes(self, task_id):
        """Codes of the task's events, the oldest first."""
        events = self.client.task_event_list(task_id, limit=1000)
        return [event["code"] for event in events][::-1]

    def path(self, path, collection="tape"):
        return self.globus.root(collection) / path.lstrip("/")
