"""People of the tests' server, and how they log in."""

import contextlib
import itertools

import httpx

from apsdm_bluesky.tiled_config import PasswordFile

PASSWORD = "correct horse"
_numbers = itertools.count(1)
TOKEN = "/api/v1/auth/provider/password_file/token"


def added(server, name):
    """Somebody who may log in; their name."""
    people = PasswordFile.of(server.config.folders)
    if name not in people.names():
        people.add(name, PASSWORD)
    return name


@contextlib.contextmanager
def browser(server, **headers):
    """Without the API key, from an address of its own: wrong passwords are counted by address."""
    forwarded = {"X-Forwarded-For": f"10.0.0.{next(_numbers)}"}
    with httpx.Client(
        base_url=server.uri, headers={**forwarded, **headers}, timeout=30, trust_env=False
    ) as http:
        yield http


def asked_for_token(http, name, password=PASSWORD):
    """The answer of Tiled's own login."""
    return http.post(TOKEN, data={"username": name, "password": password})


@contextlib.contextmanager
def logged_in(server, name):
    """Somebody who uses Tiled's own login, as its Python client does."""
    added(server, name)
    with browser(server) as http:
        answer = asked_for_token(http, name)
        assert answer.status_code == 200, answer.text
        http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield http
