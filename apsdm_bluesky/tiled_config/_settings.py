"""The Tiled server's configuration, as Tiled's own configuration keys."""

from typing import Any

from apsdm_bluesky.config import BeamlineConfig
from apsdm_bluesky.spool import file_uri

from ._accounts import accounts_file
from ._passwords import PasswordFile

# By media type, what opens it.
_GUARDS = {
    "application/x-zarr": "ZARR",
    "application/x-zarr;structure=events": "ZARR_EVENTS",
    "application/x-zarr;structure=sparse": "ZARR_SPARSE",
    "application/x-hdf5": "HDF5",
    "application/x-npy": "NPY",
    "multipart/related;type=application/x-npy": "NPYS",
    "image/tiff": "TIFF",
    "multipart/related;type=image/tiff": "TIFFS",
    "image/jpeg": "JPEG",
    "multipart/related;type=image/jpeg": "JPEGS",
    "application/x-rigaku-bin": "RIGAKU",
    "application/octet-stream": "BYTES",
}

# Of a token, of a session that nobody uses, and of any session [s].
_LIVES = {"access_token_max_age": 900, "refresh_token_max_age": 7 * 86400, "session_max_age": 30 * 86400}


def tables_uri(config: BeamlineConfig) -> str:
    """The DuckDB file that holds the rows of tables (events and results)."""
    return f"duckdb:///{config.folders.catalog / 'tables.duckdb'}"


def server_settings(config: BeamlineConfig) -> dict[str, Any]:
    """The configuration of the embedded server: SQLite and folders, no services beside it.

    Pure: nothing is created, and no secret is in it.
    """
    folders = config.folders
    return {
        "catalog": {
            "uri": f"sqlite:///{folders.catalog / 'catalog.db'}",
            "writable_storage": [
                str(folders.catalog / "data"),
                tables_uri(config),
            ],
            # Raw frames stay where the devices wrote them, files where they were brought. Nothing else on this
            # machine can be read. Tiled compares addresses as they are written: those of files are quoted.
            "readable_storage": [str(folders.raw), file_uri(config.experiments_root)],
            "init_if_not_exists": True,
            # Whatever raw data may be: where they were released to tape, none is read.
            "adapters_by_mimetype": {
                mimetype: f"apsdm_bluesky.tiled_config._released:{guard}"
                for mimetype, guard in _GUARDS.items()
            },
        },
        # Otherwise `/asset/bytes?relative_path=../..` serves any file that the server's account can read
        # (Tiled 0.2.20). Data are read through `/array`, `/table` and exports, which do not need it.
        "expose_raw_assets": False,
        "authentication": {
            "allow_anonymous_access": False,
            "providers": [provider_settings(config)],
            **_LIVES,
        },
        # Made before the server starts: Tiled's own way starts another Python.
        "database": {"uri": f"sqlite:///{accounts_file(folders)}", "init_if_not_exists": False},
        "specs": [{"spec": "CatalogOfBlueskyRuns"}, {"spec": "BlueskyRun"}, {"spec": "BlueskyEventStream"}],
        "streaming_cache": {"uri": "memory"},  # live subscriptions
        "media_types": {
            # What `run.documents()` asks for.
            "BlueskyRun": {
                "application/json-seq": "bluesky_tiled_plugins.exporters:json_seq_exporter",
                # Results as the files that people open; any other run's HDF5 is Tiled's own.
                "application/x-hdf5": "apsdm_bluesky.tiled_config._xpcs_export:export_hdf5",
                "application/x-xpcs-hdf5": "apsdm_bluesky.tiled_config._xpcs_export:export_xpcs",
            },
        },
        "file_extensions": {"xpcs": "application/x-xpcs-hdf5"},
    }


def provider_settings(config: BeamlineConfig) -> dict[str, Any]:
    """Who checks passwords, as an entry of Tiled's `authentication.providers`. Pure, and without secrets."""
    people = config.people
    arguments: dict[str, Any]
    if people.provider == "password_file":
        arguments = {"path": str(PasswordFile.of(config.folders).path)}
    else:
        arguments = getattr(people, people.provider).model_dump(mode="json")
    return {
        "provider": people.provider,
        "authenticator": f"apsdm_bluesky.tiled_config._authenticators:{people.provider}",
        "args": arguments,
    }
