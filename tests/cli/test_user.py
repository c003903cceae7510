"""`apsdm user`: people of the password file."""

import json
import os
import pty
import stat
import subprocess

import pytest

from apsdm_bluesky.config import StateFolders
from apsdm_bluesky.tiled_config import PasswordFile
from tests.commands import apsdm, command, told

PASSWORD = "correct horse"


@pytest.fixture
def people(tmp_path):
    return PasswordFile.of(StateFolders(root=tmp_path))


def test_people_come_and_go(tmp_path, people, write_config):
    config = write_config(home=str(tmp_path), people={"staff": ["ann"]})
    added = apsdm("user", "add", "ann", "--password-stdin", "--config", config, input=PASSWORD + "\n")
    assert added.stdout == "ann may log in as staff\n"
    assert people.accepts("ann", PASSWORD)
    assert stat.S_IMODE(people.path.stat().st_mode) == 0o600
    listed = apsdm("user", "ls", "--json", "--config", config)
    assert json.loads(listed.stdout) == {"people": [{"name": "ann", "staff": True}]}
    apsdm("user", "password", "ann", "--password-stdin", "--config", config, input="another phrase")
    assert people.accepts("ann", "another phrase")
    apsdm("user", "remove", "ann", "--config", config)
    assert people.names() == []


def test_the_password_is_asked_twice_and_not_shown(tmp_path, people):
    master, slave = pty.openpty()
    with subprocess.Popen(
        command("user", "add", "ann", home=tmp_path),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(slave), os.O_RDWR)),  # its terminal, which is asked
    ) as process:
        os.close(slave)
        seen = b""
        for prompt in (b"Password: ", b"confirmation: "):
            while prompt not in seen:
                seen += os.read(master, 1024)
            os.write(master, PASSWORD.encode() + b"\n")
            seen = seen.partition(prompt)[2]
        while b"may log in" not in seen:
            seen += os.read(master, 1024)
        assert process.wait(30) == 0
    os.close(master)
    assert PASSWORD.encode() not in seen
    assert people.accepts("ann", PASSWORD)


@pytest.mark.parametrize(
    ("arguments", "given", "code", "text"),
    [
        (("add", "Ann", "--password-stdin"), PASSWORD, 1, "no name for a person"),
        (("add", "ann", "--password-stdin"), "short", 1, "10 to 256 printable characters"),
        (("add", "ann"), PASSWORD, 2, "use --password-stdin"),
        (("remove", "ann"), "", 1, "nobody of this name"),
        (("password", "ann", "--password-stdin"), PASSWORD, 1, "nobody of this name"),
    ],
)
def test_a_fault_is_one_line(tmp_path, arguments, given, code, text):
    done = apsdm("user", *arguments, home=tmp_path, input=given, check=False)
    assert done.returncode == code
    assert text in told(done)
    assert PASSWORD not in done.stdout + done.stderr


def test_people_of_a_directory_are_kept_there(write_config):
    config = write_config(people={"provider": "pam"})
    done = apsdm("user", "ls", "--config", config, check=False)
    assert "people.provider is pam: its people are kept there" in told(done)


def test_who_leaves_a_directory_is_logged_out_here(write_config):
    config = write_config(people={"provider": "pam"})
    done = apsdm("user", "remove", "ann", "--config", config)
    assert "ann may log in no more" in done.stdout
