"""What a newcomer reads first."""

import pytest

from tests.commands import apsdm

COMMANDS = {
    "demo": ["--frames", "--seed", "--home", "--json"],
    "replay": ["--rings", "--center", "--qmap", "in pixels"],
    "up": ["--config", "--home", "until Ctrl-C"],
    "serve": ["--config", "until Ctrl-C"],
    "agent": ["--status", "archives"],
    "shell": ["RE, catalog, devices"],
    "doctor": ["--json", "Exit code 1"],
}


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_all_commands_are_listed(arguments):
    done = apsdm(*arguments, check=False, env={"COLUMNS": "120"})
    for name in COMMANDS:
        assert name in done.stdout
    assert "Try 'apsdm demo' first" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(name):
    done = apsdm(name, "--help", env={"COLUMNS": "100"})
    for words in COMMANDS[name]:
        assert words in done.stdout
    assert done.stderr == ""
