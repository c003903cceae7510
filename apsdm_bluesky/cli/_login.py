"""`apsdm login`: log in to Globus as the user whose files the agent moves."""

from typing import Annotated

import typer

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.errors import ConfigError

from ._options import ConfigOption, HomeOption, configured

DomainOption = Annotated[
    str | None,
    typer.Option(
        "--domain", help="Log in with an identity of this domain, as a collection's policy may demand."
    ),
]


RemoteOption = Annotated[
    str | None, typer.Option("--remote", help="Log in for this remote of workflows, not for the archive.")
]


def login(
    config: ConfigOption = None,
    home: HomeOption = None,
    domain: DomainOption = None,
    remote: RemoteOption = None,
) -> None:
    """Log in to Globus as a user, once; the agent keeps the login fresh.

    Only where archive.globus.login, or the remote's login, is 'user'.
    """
    from apsdm_bluesky.transfer import log_in

    settings = configured(config, home)
    if remote is not None:
        _login_remote(settings, remote, domain)
        return
    if settings.archive.globus is None:
        raise ConfigError("archive.globus is not configured; give --config with a beamline.yml that has it")
    log_in(settings.archive.globus, settings.folders.globus, domains=(domain,) if domain else ())
    print("logged in to Globus; the agent uses it from now on, parked runs are to be resumed")


def _login_remote(settings: BeamlineConfig, remote: str, domain: str | None) -> None:
    from apsdm_bluesky.agent import remote_folder
    from apsdm_bluesky.workflows.executors import log_in_compute

    if remote not in settings.workflows.remotes:
        known = ", ".join(settings.workflows.remotes) or "none"
        raise ConfigError(f"workflows.remotes: {remote!r} is not configured; known are {known}")
    domains = (domain,) if domain else ()
    log_in_compute(
        settings.workflows.remotes[remote], folder=remote_folder(settings, remote), domains=domains
    )
    print(f"logged in to Globus for {remote}; the agent uses it from now on")
