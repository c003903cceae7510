"""`apsdm doctor --globus` and `apsdm login`."""

import json
import subprocess

import pytest

from tests.commands import apsdm, told
from tests.globus import config_of

UID = "11111111-1111-1111-1111-111111111111"


@pytest.fixture
def write(globus, tmp_path, write_config):
    """Writes a beamline.yml whose archive is the stand-in."""

    def written(**changes):
        config = config_of(globus, tmp_path, **changes)
        return write_config(archive={"globus": config.model_dump(mode="json")})

    return written


def findings(config, code):
    done = apsdm("doctor", "--globus", "--json", "--config", config, check=False)
    assert done.stderr == ""
    assert done.returncode == code, done.stdout
    return {
        found["subject"]: found
        for found in json.loads(done.stdout)["findings"]
        if "globus " in found["subject"]
    }


def test_all_is_well(globus, tmp_path, write):
    globus.configure(allow_delete=True)
    found = findings(write(), code=0)
    assert list(found) == ["globus login", "globus local", "globus remote", "globus paths", "globus trip"]
    assert {finding["level"] for finding in found.values()} == {"ok"}
    assert "there and back" in found["globus trip"]["found"]
    assert list((tmp_path / "home/archive/globus").iterdir()) == [tmp_path / "home/archive/globus/tokens.db"]


def test_an_archive_that_keeps_everything(globus, tmp_path, write):
    """Nobody may remove anything: no fault, but the small file stays."""
    assert findings(write(), code=0)["globus trip"]["level"] == "ok"
    assert len(list((globus.root("tape") / tmp_path.name / "apsdm-doctor").iterdir())) == 1


@pytest.mark.parametrize(
    ("changes", "subject", "what"),
    [
        ({"client_id": UID}, "globus login", "does not accept the login"),
        ({"collection": UID}, "globus remote", "Globus refuses it (404"),
        ({"local_root": "/nowhere"}, "globus paths", "does not lie under archive.globus.local_root"),
    ],
)
def test_what_is_configured_wrong(write, changes, subject, what):
    found = findings(write(**changes), code=1)[subject]
    assert found["level"] == "fault"
    assert what in found["found"]
    assert found["advice"]


def test_a_full_destination(globus, write):
    globus.quota("tape", 1)
    assert "QUOTA" in findings(write(), code=1)["globus trip"]["found"]


def test_nobody_answers(globus, write, monkeypatch):
    for name in ("TRANSFER", "AUTH"):
        monkeypatch.setenv(f"GLOBUS_SDK_SERVICE_URL_{name}", "http://127.0.0.1:1/")
    found = findings(write(), code=1)["globus login"]
    assert "does not answer" in found["found"]


def test_a_secret_that_others_may_read(tmp_path, write):
    config = write()
    (tmp_path / "secret").chmod(0o644)
    assert "chmod 600" in findings(config, code=1)["globus login"]["found"]


def test_no_globus_in_the_configuration(write_config):
    done = apsdm("doctor", "--globus", "--config", write_config(), check=False)
    assert done.returncode == 1
    assert "add the group archive.globus" in done.stdout
    done = apsdm("login", "--config", write_config(), check=False)
    assert "archive.globus is not configured" in told(done)


def test_login_of_a_service_account(write):
    assert "logs in by itself" in told(apsdm("login", "--config", write(), check=False))


def test_login_without_a_terminal(globus, write):
    config = write(login="user", client_id=globus.native_client_id, secret_file=None)
    done = apsdm("login", "--config", config, check=False, stdin=subprocess.DEVNULL)
    assert "/v2/oauth2/authorize" in done.stdout
    assert "run 'apsdm login'" in done.stderr
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
