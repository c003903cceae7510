"""Logging in to Globus: as the application itself, or as a user. No network until a call is made."""

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apsdm_bluesky.config import GlobusConfig, GlobusLogin
from apsdm_bluesky.durable import make_folder
from apsdm_bluesky.errors import ApsdmError, ConfigError, StorageError

if TYPE_CHECKING:
    from globus_sdk import GlobusApp, TransferClient

SECRET_VARIABLE = "APSDM_GLOBUS_SECRET"  # noqa: S105  a name, not a secret
LOGIN_COMMAND = "apsdm login"

# One short retry: the caller's thread serves every record, and `Patience` knows when to come back.
_HTTP_TIMEOUT_S = (5.0, 60.0)  # to connect, and to answer: a tape store takes its time
_RETRIES = 1
_LONGEST_SLEEP_S = 1.0


def client_secret(config: GlobusLogin, place: str = "archive.globus") -> str | None:
    """The client's secret, from the file or the environment.

    Raises
    ------
    ConfigError
        Others may read the file, it cannot be read, or a service account has no secret.
    """
    if config.secret_file is not None:
        return _secret_in(config.secret_file, place)
    secret = os.environ.get(SECRET_VARIABLE, "").strip() or None
    if secret is None and config.login == "service":
        raise ConfigError(
            f"{place}: no secret of client {config.client_id}; set secret_file, or {SECRET_VARIABLE}"
        )
    return secret


def _secret_in(path: Path, place: str) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise ConfigError(f"{path}: others may read this secret; chmod 600 it")
            secret = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text"
        raise ConfigError(f"{path}: {reason}; {place}.secret_file must hold the secret") from error
    if not secret:
        raise ConfigError(f"{path}: is empty; {place}.secret_file must hold the secret")
    return secret


def open_app(
    config: GlobusLogin, folder: Path, *, namespace: str = "DEFAULT", place: str = "archive.globus"
) -> "GlobusApp":
    """The application that logs in; its tokens lie in `folder`, readable by this account alone.

    Parameters
    ----------
    namespace
        Of the tokens: logins with other consents do not share them.
    place
        Where `config` stands in beamline.yml.

    Raises
    ------
    ConfigError
        The secret, see `client_secret`.
    StorageError
        `folder` cannot be written.
    """
    import globus_sdk

    app_class = globus_sdk.ClientApp if config.login == "service" else globus_sdk.UserApp
    return app_class(
        "apsdm-bluesky",
        login_client=_login_client(config, place),
        config=globus_sdk.GlobusAppConfig(
            token_storage=_token_storage(folder, namespace),
            request_refresh_tokens=config.login == "user",
            token_validation_error_handler=None,  # a daemon never opens a login
        ),
    )


def open_client(
    config: GlobusConfig, folder: Path, *, logs_in: bool = False
) -> "tuple[GlobusApp, TransferClient]":
    """The application and its client, see `open_app`.

    A user's consents are asked for with the login (`logs_in`) only. Later Globus tells where one is missing:
    to look them up with each start would be one more service that must answer.
    """
    import globus_sdk

    app = open_app(config, folder, namespace=_namespace(config))
    client = globus_sdk.TransferClient(app=app, **patience())
    mapped = {"local": config.local_collection, "destination": config.collection}
    if config.data_access and (logs_in or config.login == "service"):
        client.add_app_data_access_scope([mapped[which] for which in config.data_access])
    return app, client


def log_in(config: GlobusConfig, folder: Path, *, domains: tuple[str, ...] = ()) -> None:
    """Let a person log in at the terminal, and keep the tokens for the agent.

    Parameters
    ----------
    domains
        A login with an identity of one of these is asked for, where a collection's policy demands it.

    Raises
    ------
    ApsdmError
        The login did not succeed, or a service account is configured, which needs none.
    """
    if config.login != "user":
        raise ApsdmError(
            "archive.globus.login is 'service': it logs in by itself; see 'apsdm doctor --globus'"
        )
    app, client = open_client(config, folder, logs_in=True)
    try:
        ask_login(app, domains)
    finally:
        client.close()
        app.close()


def ask_login(app: "GlobusApp", domains: tuple[str, ...] = ()) -> None:
    """Ask at the terminal for a login of the application. `ApsdmError` where it does not succeed."""
    import globus_sdk
    from globus_sdk.gare import GlobusAuthorizationParameters

    try:
        wanted = GlobusAuthorizationParameters(session_required_single_domain=list(domains) or None)
        app.login(auth_params=wanted, force=True)
    except globus_sdk.GlobusError as error:
        reason = " ".join(str(error).split())
        raise ApsdmError(
            f"the login to Globus did not succeed ({reason}); run '{LOGIN_COMMAND}' again"
        ) from error
    except EOFError as error:
        raise ApsdmError(f"no code was given; run '{LOGIN_COMMAND}' in a terminal") from error


def _login_client(config: GlobusLogin, place: str) -> Any:
    import globus_sdk

    secret = client_secret(config, place)
    if secret is None:
        return globus_sdk.NativeAppAuthClient(config.client_id, **patience())
    return globus_sdk.ConfidentialAppAuthClient(config.client_id, secret, **patience())


def patience() -> dict[str, Any]:
    """How long a client of the SDK waits and how often it retries, as its keywords."""
    from globus_sdk.transport import RequestsTransport, RetryConfig

    return {
        "transport": RequestsTransport(http_timeout=_HTTP_TIMEOUT_S),
        "retry_config": RetryConfig(max_retries=_RETRIES, max_sleep=_LONGEST_SLEEP_S),
    }


def _namespace(config: GlobusConfig) -> str:
    """Whose tokens these are. A service account that is to have other consents must not use its old ones."""
    ends = {"local": config.local_collection, "destination": config.collection}
    wanted = [ends[which] for which in sorted(config.data_access)] if config.login == "service" else []
    return " ".join(wanted) or "DEFAULT"


def _token_storage(folder: Path, namespace: str) -> Any:
    import sqlite3

    from globus_sdk.token_storage import SQLiteTokenStorage

    path = folder / "tokens.db"
    try:
        make_folder(folder)
        # One call is made at a time, but by whichever thread works on the bundle.
        storage = SQLiteTokenStorage(path, connect_params={"check_same_thread": False}, namespace=namespace)
        path.chmod(0o600)
    except (OSError, ValueError, sqlite3.Error) as error:
        raise StorageError(f"{path}: {error}; give write permission, or move a damaged file away") from error
    return storage
