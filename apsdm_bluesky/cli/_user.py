"""`apsdm user`: people of the password file, who may log in to the server."""

import json
import sys
from typing import Annotated

import typer

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ConfigError

from ._options import ConfigOption, HomeOption, JsonOption, configured

app = typer.Typer(
    help="People who may log in, where 'people.provider' is the password file.", no_args_is_help=True
)

NameArgument = Annotated[str, typer.Argument(help="a-z, 0-9, '.', '_', '-', first a letter; at most 32.")]
StdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of standard input.")
]


@app.command()
def add(
    name: NameArgument,
    config: ConfigOption = None,
    home: HomeOption = None,
    password_stdin: StdinOption = False,
) -> None:
    """Let somebody log in; the password is asked twice. A running server takes it at once."""
    from apsdm_bluesky.tiled_config import PasswordFile

    settings = _settings(config, home)
    PasswordFile.of(settings.folders).add(name, _password(from_stdin=password_stdin))
    print(f"{name} may log in{' as staff' if name in settings.people.staff else ''}")


@app.command("ls")
def list_(config: ConfigOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List who may log in, and who is staff (`people.staff` in beamline.yml)."""
    from apsdm_bluesky.tiled_config import PasswordFile

    settings = _settings(config, home)
    names = PasswordFile.of(settings.folders).names()
    if as_json:
        print(
            json.dumps({"people": [{"name": name, "staff": name in settings.people.staff} for name in names]})
        )
        return
    for name in names:
        print(f"{name}{'  staff' if name in settings.people.staff else ''}")
    if not names:
        print("nobody yet; 'apsdm user add NAME'")


@app.command()
def remove(name: NameArgument, config: ConfigOption = None, home: HomeOption = None) -> None:
    """Let somebody log in no more; all logins and API keys of theirs end.

    Where people are kept elsewhere (PAM, LDAP, OIDC), remove them there first; here logins and keys end.
    """
    from apsdm_bluesky.tiled_config import PasswordFile, forget_person

    settings = configured(config, home)
    if settings.people.provider == "password_file":
        PasswordFile.of(settings.folders).remove(name)
    forget_person(settings.folders, settings.people.provider, name)
    print(f"{name} may log in no more; a token that is out lives for 15 minutes at most")


@app.command()
def password(
    name: NameArgument,
    config: ConfigOption = None,
    home: HomeOption = None,
    password_stdin: StdinOption = False,
) -> None:
    """Give somebody a new password; all logins and API keys of theirs end."""
    from apsdm_bluesky.tiled_config import PasswordFile, forget_person

    settings = _settings(config, home)
    PasswordFile.of(settings.folders).change(name, _password(from_stdin=password_stdin))
    forget_person(settings.folders, settings.people.provider, name)
    print(f"{name} has a new password, and must log in again")


def _settings(config: ConfigOption, home: HomeOption) -> BeamlineConfig:
    settings = configured(config, home)
    if settings.people.provider != "password_file":
        raise ConfigError(
            f"people.provider is {settings.people.provider}: its people are kept there, not here"
        )
    return settings


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise typer.BadParameter("no terminal to ask for the password at; use --password-stdin")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
