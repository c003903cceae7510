"""`apsdm login`: log in to Globus as the user whose files the agent moves."""

from typing import Annotated

import typer

from apsdm_bluesky.errors import ConfigError

from ._options import ConfigOption, HomeOption, configured

DomainOption = Annotated[
    str | None,
    typer.Option(
        "--domain", help="Log in with an identity of this domain, as a collection's policy may demand."
    ),
]


def login(config: ConfigOption = None, home: HomeOption = None, domain: DomainOption = None) -> None:
    """Log in to Globus as a user, once; the agent keeps the login fresh.

    Only where archive.globus.login is 'user'.
    """
    from apsdm_bluesky.transfer import log_in

    settings = configured(config, home)
    if settings.archive.globus is None:
        raise ConfigError("archive.globus is not configured; give --config with a beamline.yml that has it")
    log_in(settings.archive.globus, settings.folders.globus, domains=(domain,) if domain else ())
    print("logged in to Globus; the agent uses it from now on, parked runs are to be resumed")
