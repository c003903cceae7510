"""Who may log in, and what they may do then."""

import asyncio
import contextlib
import json
import sqlite3
import stat
import sys
import uuid
from urllib.parse import quote

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from tiled.authn_database.core import get_or_create_principal
from tiled.authn_database.orm import Identity
from websockets.sync.client import connect as subscribe

from apsdm_bluesky.config import BeamlineConfig, StateFolders
from apsdm_bluesky.errors import ConfigError, StorageError
from apsdm_bluesky.tiled_config import PasswordFile, forget_person, server_settings
from apsdm_bluesky.tiled_config._accounts import accounts_file, prepare_accounts
from apsdm_bluesky.tiled_config._throttle import Throttle
from tests.people import PASSWORD, added, asked_for_token, browser, logged_in
from tests.servers import RunningServer


def whoami(http):
    return http.get("/api/v1/auth/whoami").json()


def test_somebody_added_while_the_server_runs_logs_in(tiled_server):
    with logged_in(tiled_server, "ann") as http:
        assert [identity["id"] for identity in whoami(http)["identities"]] == ["ann"]
        assert http.get("/api/v1/metadata/").status_code == 200


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ann", "wrong"),
        ("ann", ""),
        ("ann", "x" * 50_000),
        ("ann", "\ud800"),
        ("nobody-known", PASSWORD),
        ("beamline", PASSWORD),
        ("Ann", PASSWORD),
        ("ann\n", PASSWORD),
        ("../../api_key", PASSWORD),
        ("ann' or 1=1 --", PASSWORD),
        ("*)(uid=*", PASSWORD),
        ("n" * 50_000, PASSWORD),
        ("\x00", PASSWORD),
    ],
)
def test_wrong_names_and_passwords_get_401(tiled_server, name, password):
    added(tiled_server, "ann")
    with browser(tiled_server) as http:
        answer = http.post(
            "/api/v1/auth/provider/password_file/token",
            content=form(username=name, password=password),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert answer.status_code in (401, 422), answer.text
        assert "access_token" not in answer.text


def form(**fields):
    return "&".join(
        f"{key}={quote(value.encode('utf-8', 'surrogatepass'))}" for key, value in fields.items()
    )


def test_guessing_ends_soon_and_is_told(tiled_server):
    added(tiled_server, "guessed")
    with browser(tiled_server) as http:
        assert [asked_for_token(http, "guessed", "wrong").status_code for _ in range(5)] == [401] * 5
        answer = asked_for_token(http, "guessed")  # the right one, too
        assert answer.status_code == 429
        assert "Too many wrong passwords" in answer.json()["detail"]
        assert 0 < int(answer.headers["Retry-After"]) <= 300
        assert asked_for_token(http, added(tiled_server, "ann")).status_code == 200
    with browser(tiled_server) as elsewhere:
        assert asked_for_token(elsewhere, "guessed").status_code == 200


def test_a_login_of_any_size_is_refused(tiled_server):
    with browser(tiled_server) as http:
        assert asked_for_token(http, "ann", "x" * (1 << 17)).status_code == 413


def test_people_read_and_do_nothing_else(tiled_server):
    with tiled_server.client() as root:
        if "people-test" not in root:
            root.create_container("people-test", metadata={"a": 1})
    with logged_in(tiled_server, "ann") as http:
        entry = http.get("/api/v1/metadata/people-test")
        assert entry.json()["data"]["attributes"]["metadata"] == {"a": 1}
        node = {"structure_family": "container", "metadata": {}, "data_sources": [], "specs": []}
        refused = [
            http.post("/api/v1/metadata/", json=node),
            http.post("/api/v1/register/", json=node),
            http.patch("/api/v1/metadata/people-test", json={"metadata": {}}),
            http.put("/api/v1/metadata/people-test", json={"metadata": {"a": 2}}),
            http.delete("/api/v1/metadata/people-test"),
            http.delete("/api/v1/nodes/people-test"),
            http.get("/api/v1/auth/principal"),
            http.post("/api/v1/auth/principal", params={"role": "admin"}),
            http.post(f"/api/v1/auth/principal/{uuid.uuid4()}/apikey", json={"scopes": ["inherit"]}),
            http.get("/api/v1/metrics"),
        ]
        assert {answer.status_code for answer in refused} <= {401, 404, 405}
        assert [answer.status_code for answer in refused].count(401) >= 7
        assert http.get("/api/v1/metadata/people-test").json() == entry.json()


def test_a_key_of_ones_own_reads_and_may_not_do_more(tiled_server):
    with logged_in(tiled_server, "ann") as http:
        more = http.post("/api/v1/auth/apikey", json={"scopes": ["create:node"], "expires_in": 60})
        assert more.status_code == 403
        key = http.post("/api/v1/auth/apikey", json={"scopes": ["inherit"], "expires_in": 60}).json()[
            "secret"
        ]
    with browser(tiled_server, Authorization=f"Apikey {key}") as http:
        assert http.get("/api/v1/metadata/").status_code == 200
        assert http.post("/api/v1/metadata/", json={}).status_code == 401


def test_who_is_removed_is_out(tiled_server):
    config = tiled_server.config
    with logged_in(tiled_server, "leaver") as http:
        key = http.post("/api/v1/auth/apikey", json={"scopes": ["inherit"], "expires_in": 600}).json()["secret"]
        tokens = asked_for_token(http, "leaver").json()
        PasswordFile.of(config.folders).remove("leaver")
        forget_person(config.folders, "password_file", "leaver")
        assert asked_for_token(http, "leaver").status_code == 401
        refresh = http.post(
            "/api/v1/auth/session/refresh", json={"refresh_token": tokens["refresh_token"]}
        )
        assert refresh.status_code == 401
        assert http.get("/api/v1/auth/whoami").status_code == 401
    with browser(tiled_server, Authorization=f"Apikey {key}") as http:
        assert http.get("/api/v1/metadata/").status_code == 401


def test_the_key_file_is_the_beamline_itself(tiled_server):
    with tiled_server.http() as http:
        assert whoami(http)["type"] == "service"
    upper = f"Apikey {tiled_server.api_key.upper()}"  # not exchanged for a token: as Tiled looks keys up
    for headers, params in (({"Authorization": upper}, {}), ({}, {"api_key": tiled_server.api_key})):
        with browser(tiled_server, **headers) as http:
            assert http.get("/api/v1/auth/principal", params=params).status_code == 200


def test_nobody_is_nobody(tiled_server):
    with browser(tiled_server) as http:
        assert whoami(http) is None
        assert http.post("/api/v1/auth/session/refresh", json={"refresh_token": "x"}).status_code == 401
        assert http.post("/api/v1/auth/session/revoke", json={"refresh_token": "x"}).status_code == 401
        forged = {"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4Iiwic2NwIjpbImFkbWluIl19."}
        assert http.get("/api/v1/metadata/", headers=forged).status_code == 401


def test_a_live_subscription_takes_the_key(tiled_server):
    uri = f"{tiled_server.uri.replace('http://', 'ws://')}/api/v1/stream/single/?envelope_format=json"
    with subscribe(uri, additional_headers={"Authorization": f"Apikey {tiled_server.api_key}"}) as stream:
        assert json.loads(stream.recv(timeout=10))


def test_secrets_are_for_their_owner_only(tiled_server):
    added(tiled_server, "ann")
    folder = tiled_server.config.folders.catalog
    for name in ("api_key", "token_key", "accounts.db", "passwords.json"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name
    for name in ("accounts.db", "passwords.json"):
        assert PASSWORD.encode() not in (folder / name).read_bytes()
    assert tiled_server.api_key.encode() not in (folder / "accounts.db").read_bytes()


def test_accounts_outlive_a_restart_and_follow_the_key(tmp_path):
    """Also: a state folder from before there were people has a key and no accounts."""
    server = RunningServer(tmp_path)
    with contextlib.closing(server):
        with logged_in(server, "ann") as http:
            before = whoami(http)["uuid"]
            own = http.post("/api/v1/auth/apikey", json={"scopes": ["inherit"], "expires_in": 600}).json()["secret"]
            server.kill()
            old = server.api_key
            (tmp_path / "catalog/api_key").unlink()
            server.restart()
            assert whoami(http)["uuid"] == before
        with server.http() as http:
            assert whoami(http)["type"] == "service"
            assert len([one for one in http.get("/api/v1/auth/principal").json() if one["type"] == "service"]) == 1
        for key, status in ((old, 401), (own, 200)):
            with browser(server, Authorization=f"Apikey {key}") as http:
                assert http.get("/api/v1/metadata/").status_code == status
        with browser(server) as http:
            damaged = PasswordFile.of(server.config.folders).path
            damaged.write_text("{")
            answer = asked_for_token(http, "ann")
            assert answer.status_code == 503
            assert "server's log tells why" in answer.json()["detail"]
            (line,) = [text for text in server.process.log_file.read_text().split("\n") if str(damaged) in text]
            assert "is no JSON; put a copy back" in line


# -- the password file --


@pytest.fixture
def people(tmp_path):
    return PasswordFile(path=tmp_path / "passwords.json")


def test_a_password_is_taken_changed_and_forgotten(people):
    assert people.names() == []
    assert not people.accepts("ann", PASSWORD)
    people.add("ann", PASSWORD)
    people.add("bob", PASSWORD)
    assert people.names() == ["ann", "bob"]
    assert people.accepts("ann", PASSWORD)
    assert not people.accepts("ann", PASSWORD + "x")
    people.change("ann", "another pass phrase")
    assert people.accepts("ann", "another pass phrase")
    assert not people.accepts("ann", PASSWORD)
    people.remove("ann")
    assert not people.accepts("ann", "another pass phrase")
    assert people.names() == ["bob"]
    assert stat.S_IMODE(people.path.stat().st_mode) == 0o600
    assert {each.name for each in people.path.parent.iterdir()} <= {"passwords.json", "passwords.lock"}


def test_equal_passwords_are_stored_unlike(people):
    people.add("ann", PASSWORD)
    people.add("bob", PASSWORD)
    assert len(set(json.loads(people.path.read_text()).values())) == 2


@pytest.mark.parametrize("name", ["", "Ann", "1ann", "a b", "a/b", "ä", "a" * 33, "ann\n", "beamline", "-a"])
def test_a_name_that_cannot_be(people, name):
    with pytest.raises(ConfigError, match="no name for a person"):
        people.add(name, PASSWORD)


@pytest.mark.parametrize("password", ["", "too short", "x" * 257, "with\na line"])
def test_a_password_that_cannot_be(people, password):
    with pytest.raises(ConfigError, match="10 to 256 printable characters"):
        people.add("ann", password)
    assert not people.path.exists()


def test_nobody_is_added_twice_nor_changed_unknown(people):
    people.add("ann", PASSWORD)
    with pytest.raises(ConfigError, match="may log in already"):
        people.add("ann", PASSWORD)
    for change in (lambda: people.remove("bob"), lambda: people.change("bob", PASSWORD)):
        with pytest.raises(ConfigError, match="nobody of this name"):
            change()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "nonsense", '{"ann": 1}', '{"ann": "scrypt-1-1-1::"}', '{"ann": "x"}', "[" * 100_000, b"\xff"],
)
def test_a_damaged_file_is_one_clear_line(people, content):
    people.path.write_bytes(content if isinstance(content, bytes) else content.encode())
    people.path.chmod(0o600)
    with pytest.raises(ConfigError, match=r"passwords.json: .*put a copy back") as caught:
        people.accepts("ann", PASSWORD)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="put a copy back"):
        people.add("ann", PASSWORD)


def test_a_file_that_others_may_read_is_refused(people):
    people.add("ann", PASSWORD)
    people.path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        people.accepts("ann", PASSWORD)


# -- attempts --


def test_attempts_are_counted_by_name_and_by_address():
    now = [0.0]
    throttle = Throttle(lambda: now[0])
    assert [throttle.attempt("ann", "a") for _ in range(5)] == [0] * 5
    now[0] = 100.0
    assert throttle.attempt("ann", "a") == 200.0
    assert throttle.attempt("bob", "a") == throttle.attempt("ann", "b") == 0
    now[0] = 301.0
    assert throttle.attempt("ann", "a") == 0


def test_a_forged_address_does_not_help():
    throttle = Throttle(lambda: 0.0)
    assert [throttle.attempt("ann", str(i)) for i in range(51)] == [0] * 50 + [300.0]
    assert [throttle.attempt(f"n{i}", "a") for i in range(51)] == [0] * 50 + [300.0]


def test_who_logs_in_is_not_counted():
    throttle = Throttle(lambda: 0.0)
    for _ in range(200):
        assert throttle.attempt("ann", "a") == 0
        throttle.succeeded("ann", "a")


def test_what_is_counted_does_not_grow_without_end():
    throttle = Throttle(lambda: 0.0)
    for i in range(12_000):
        throttle.attempt(f"n{i}", str(i))
    assert len(throttle._attempts) < 10_003


# -- other providers --

LDAP = {"server_address": ["ldap.example"], "bind_dn_template": ["uid={username},dc=example"]}
OIDC = {
    "audience": "apsdm",
    "client_id": "apsdm",
    "well_known_uri": "https://id.example/.well-known/openid-configuration",
    "public_uri": "https://beamline.example",
}


def parsed(people, home):
    """Tiled's own reading of what we generate."""
    from tiled.config import Authentication

    config = BeamlineConfig(home=home, people=people)
    settings = server_settings(config)["authentication"]
    return Authentication.model_validate(settings).authenticators[config.people.provider]


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Stands in for what is not installed: Tiled loads it at a login only."""
    (tmp_path / "pamela.py").write_text("")
    (tmp_path / "ldap3/core").mkdir(parents=True)
    for file in ("__init__.py", "core/__init__.py"):
        (tmp_path / "ldap3" / file).write_text("")
    (tmp_path / "ldap3/core/exceptions.py").write_text("class LDAPException(Exception): ...")
    for name in ("pamela", "ldap3", "ldap3.core", "ldap3.core.exceptions"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)


def test_tiled_takes_the_password_file(tmp_path):
    assert parsed({}, tmp_path)


def test_tiled_takes_pam_and_ldap(packages, tmp_path, monkeypatch):
    assert parsed({"provider": "pam", "pam": {"service": "sshd"}}, tmp_path)
    assert parsed({"provider": "ldap", "ldap": LDAP}, tmp_path)
    searching = {**LDAP, "lookup_dn": True, "lookup_dn_search_user": "cn=reader"}
    with pytest.raises(ConfigError, match=r"people.ldap.secret_file.*APSDM_LDAP_PASSWORD"):
        parsed({"provider": "ldap", "ldap": searching}, tmp_path)
    monkeypatch.setenv("APSDM_LDAP_PASSWORD", "secret")
    assert parsed({"provider": "ldap", "ldap": searching}, tmp_path)


def test_tiled_takes_oidc_with_its_secret_from_a_file(tmp_path):
    secret = tmp_path / "client"
    people = {"provider": "oidc", "oidc": {**OIDC, "secret_file": str(secret)}}
    with pytest.raises(ConfigError, match=r"client: .*must hold the secret"):
        parsed(people, tmp_path)
    secret.write_text("secret")
    secret.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        parsed(people, tmp_path)
    secret.chmod(0o600)
    authenticator = parsed(people, tmp_path)
    assert authenticator.redirect_on_success == "https://beamline.example/login/finish"


@pytest.mark.parametrize("provider", ["ldap", "oidc"])
def test_a_provider_without_its_group_is_refused(provider):
    with pytest.raises(ValueError, match=f"the group {provider} is missing"):
        BeamlineConfig(people={"provider": provider})


def test_a_secret_in_the_configuration_is_refused():
    with pytest.raises(ValueError, match="Extra inputs"):
        BeamlineConfig(people={"provider": "oidc", "oidc": {**OIDC, "client_secret": "x"}})
    with pytest.raises(ValueError, match="bind_dn_template"):
        BeamlineConfig(people={"provider": "ldap", "ldap": {"server_address": ["ldap.example"]}})


# -- the database of accounts --


def identities(folders, *more):
    """Who has an identity, after some have logged in."""

    async def ask():
        engine = create_async_engine(f"sqlite+aiosqlite:///{accounts_file(folders)}")
        async with AsyncSession(engine, expire_on_commit=False) as db:
            for provider, name in more:
                await get_or_create_principal(db, provider, name)
            found = {identity.id for identity in (await db.execute(select(Identity))).scalars()}
        await engine.dispose()
        return found

    return asyncio.run(ask())


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "catalog").mkdir()
    return StateFolders(root=tmp_path)


def test_another_provider_knows_nobody_of_the_former(folders):
    claims = prepare_accounts(folders, "password_file", "ab" * 32)
    assert identities(folders, ("password_file", "ann"), ("ldap", "bob")) == {"beamline", "ann", "bob"}
    assert prepare_accounts(folders, "ldap", "ab" * 32) == claims
    assert identities(folders) == {"beamline", "bob"}
    assert "register" in claims["scp"]


def test_a_start_that_was_killed_is_made_up_for(folders):
    """Tables are made first, and marked as Tiled's afterwards."""
    prepare_accounts(folders, "password_file", "ab" * 32)
    with contextlib.closing(sqlite3.connect(accounts_file(folders))) as database:
        database.execute("DROP TABLE alembic_version")
        database.execute("DELETE FROM roles WHERE name = 'user'")
        database.commit()
    assert prepare_accounts(folders, "password_file", "ab" * 32)["sub_typ"] == "service"
    assert identities(folders) == {"beamline"}


@pytest.mark.parametrize("content", [b"nonsense" * 1000, None])
def test_accounts_that_cannot_be_used_are_one_clear_line(folders, content):
    path = accounts_file(folders)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(StorageError, match=r"accounts.db: cannot be used \(.*people log in again") as caught:
        prepare_accounts(folders, "password_file", "ab" * 32)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_guessed_at_is_not_hidden_by_many_addresses():
    throttle = Throttle(lambda: 0.0)
    for number in range(50):
        assert throttle.attempt("ann", f"10.0.0.{number}") == 0.0
    for number in range(11_000):
        throttle.attempt(f"n{number}", f"10.1.{number // 250}.{number % 250}")
    assert throttle.attempt("ann", "10.2.0.1") > 0.0
