"""Logging in to Globus: secrets, a user's login, and what does not happen by itself."""

import builtins
import re
import stat
import subprocess
import sys

import pytest
from pydantic import ValidationError

from apsdm_bluesky.config import ArchiveConfig
from apsdm_bluesky.errors import ApsdmError, ConfigError, FormatError, StorageError
from apsdm_bluesky.transfer import Globus, TaskStatus, log_in
from tests.globus import config_of, finish, mover, request


@pytest.fixture
def browser(globus, monkeypatch, capsys):
    """A person who opens the address that is shown, agrees, and types the code."""
    urls = []

    def type_code(prompt=""):
        urls.append(re.search(r"http\S+/authorize\?\S+", capsys.readouterr().out)[0])
        return globus.authorize(urls[-1])

    monkeypatch.setattr(builtins, "input", type_code)
    return urls


def as_user(process, folder, **changes):
    return config_of(
        process, folder, **changes, login="user", client_id=process.native_client_id, secret_file=None
    )


def test_a_user_logs_in_once_and_the_agent_goes_on(globus, tmp_path, browser):
    config = as_user(globus, tmp_path)
    source = tmp_path / "source"
    source.write_bytes(b"x")
    transfer = Globus(config, folder=tmp_path / "state")
    with pytest.raises(ApsdmError, match="log in again: 'apsdm login'"):
        transfer.new_submission_id()
    log_in(config, tmp_path / "state")
    assert len(browser) == 1
    assert finish(transfer, request(transfer, source)).status is TaskStatus.SUCCEEDED
    globus.revoke_tokens()
    assert finish(transfer, request(transfer, source)).status is TaskStatus.SUCCEEDED  # refreshed
    globus.revoke_tokens(refresh=True)
    with pytest.raises(ApsdmError, match="log in again: 'apsdm login'"):
        transfer.new_submission_id()
    log_in(config, tmp_path / "state")
    assert finish(transfer, request(transfer, source)).status is TaskStatus.SUCCEEDED
    transfer.close()
    assert len(browser) == 2


def test_a_mapped_collection_gets_its_consent_with_the_login(globus, tmp_path, browser):
    globus.forget_consents()
    globus.require_consent("tape")
    source = tmp_path / "source"
    source.write_bytes(b"x")
    plain = as_user(globus, tmp_path)
    log_in(plain, tmp_path / "state")
    transfer = Globus(plain, folder=tmp_path / "state")
    with pytest.raises(ApsdmError, match=r"needs consent for .*then run 'apsdm login'"):
        finish(transfer, request(transfer, source))
    transfer.close()
    mapped = as_user(globus, tmp_path, data_access=["destination"])
    log_in(mapped, tmp_path / "state")
    transfer = Globus(mapped, folder=tmp_path / "state")
    assert finish(transfer, request(transfer, source)).status is TaskStatus.SUCCEEDED
    transfer.close()


def test_a_policy_asks_for_a_domain(globus, tmp_path, browser):
    config = as_user(globus, tmp_path)
    log_in(config, tmp_path / "state", domains=("alcf.anl.gov",))
    assert "session_required_single_domain=alcf.anl.gov" in browser[0]
    globus.require_session("tape", ["alcf.anl.gov"])
    transfer = Globus(config, folder=tmp_path / "state")
    with pytest.raises(ApsdmError, match=r"run 'apsdm login --domain alcf.anl.gov'"):
        transfer.stat("a/file")
    transfer.close()


def test_a_login_that_nobody_finishes(globus, tmp_path, monkeypatch):
    def nobody(prompt=""):
        raise EOFError

    monkeypatch.setattr(builtins, "input", nobody)
    with pytest.raises(ApsdmError, match="apsdm login"):
        log_in(as_user(globus, tmp_path), tmp_path / "state")


def test_a_service_account_needs_no_login(globus, tmp_path):
    with pytest.raises(ApsdmError, match="logs in by itself"):
        log_in(config_of(globus, tmp_path), tmp_path / "state")


def test_tokens_are_private(globus, tmp_path):
    transfer = mover(globus, tmp_path)
    transfer.new_submission_id()
    transfer.close()
    assert stat.S_IMODE((tmp_path / "state/tokens.db").stat().st_mode) == 0o600


def test_damaged_tokens_are_told(globus, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state/tokens.db").write_text("no database, " * 100)
    with pytest.raises(StorageError, match=r"tokens\.db"):
        mover(globus, tmp_path).new_submission_id()


def test_a_secret_that_others_may_read_is_refused(globus, tmp_path):
    transfer = mover(globus, tmp_path)
    (tmp_path / "secret").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        transfer.new_submission_id()


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_secret_that_is_none(globus, tmp_path, content):
    transfer = mover(globus, tmp_path)
    (tmp_path / "secret").unlink()
    if content is not None:
        (tmp_path / "secret").touch(mode=0o600)
        (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ConfigError, match="secret_file must hold the secret"):
        transfer.new_submission_id()


def test_a_secret_in_the_environment(globus, tmp_path, monkeypatch):
    transfer = mover(globus, tmp_path, secret_file=None)
    with pytest.raises(ConfigError, match="APSDM_GLOBUS_SECRET"):
        transfer.new_submission_id()
    monkeypatch.setenv("APSDM_GLOBUS_SECRET", globus.client_secret)
    assert transfer.new_submission_id()
    transfer.close()


def test_a_wrong_secret_parks(globus, tmp_path):
    transfer = mover(globus, tmp_path)
    (tmp_path / "secret").write_text("no-such-secret")
    with pytest.raises(ApsdmError, match="does not accept the login") as raised:
        transfer.new_submission_id()
    assert "no-such-secret" not in str(raised.value)
    transfer.close()


def test_files_outside_the_collection_are_refused(globus, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    transfer = mover(globus, tmp_path, local_root=inside)
    (tmp_path / "source").write_bytes(b"x")
    (inside / "link").symlink_to(tmp_path)
    for place in (tmp_path / "source", inside / "../source", inside / "link/source"):
        with pytest.raises(FormatError, match="local_root"):
            transfer.submit(request(transfer, place))
    transfer.close()


def test_importing_and_making_it_asks_nobody(tmp_path):
    """No network, no SDK, no file, until something is asked of it."""
    code = (
        "import sys, socket\n"
        "socket.socket.connect = None\n"
        "from pathlib import Path\n"
        "from apsdm_bluesky.config import GlobusConfig\n"
        "from apsdm_bluesky.transfer import Globus\n"
        "uid = '11111111-1111-1111-1111-111111111111'\n"
        "Globus(GlobusConfig(local_collection=uid, local_root='/', collection=uid, client_id=uid),"
        f" folder=Path({str(tmp_path / 'none')!r})).close()\n"
        "print([name for name in ('globus_sdk', 'requests') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert not (tmp_path / "none").exists()


UID = "11111111-1111-1111-1111-111111111111"
GOOD = {"local_collection": UID, "local_root": "/", "collection": UID, "client_id": UID}


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"client_secret": "s"}, "client_secret"),
        ({"collection": "alcf#dtn_hpss"}, "collection"),
        ({"local_root": "data"}, "local_root"),
        ({"base_path": "tape"}, "base_path"),
        ({"base_path": "/a/../b"}, "base_path"),
        ({"login": "guest"}, "login"),
        ({"deadline_h": 0}, "deadline_h"),
        ({"name": "local"}, "name"),
        ({"data_access": ["tape"]}, "data_access"),
    ],
)
def test_a_wrong_configuration_is_refused(wrong, key):
    assert ArchiveConfig(globus=GOOD).collection == "globus"
    with pytest.raises(ValidationError, match=key):
        ArchiveConfig(globus=GOOD | wrong)
