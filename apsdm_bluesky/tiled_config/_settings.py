"""The Tiled server's configuration, as Tiled's own configuration keys."""

from typing import Any

from apsdm_bluesky.config import BeamlineConfig


def tables_uri(config: BeamlineConfig) -> str:
    """The DuckDB file that holds the rows of tables (events and results)."""
    return f"duckdb:///{config.folders.catalog / 'tables.duckdb'}"


def server_settings(config: BeamlineConfig) -> dict[str, Any]:
    """The configuration of the embedded server: SQLite and folders, no services beside it.

    Pure: nothing is created, and the API key is not in it.
    """
    folders = config.folders
    return {
        "catalog": {
            "uri": f"sqlite:///{folders.catalog / 'catalog.db'}",
            "writable_storage": [
                str(folders.catalog / "data"),
                tables_uri(config),
            ],
            # Raw frames stay where the devices wrote them. Nothing else on this machine can be read.
            "readable_storage": [str(folders.raw)],
            "init_if_not_exists": True,
            # Raw frames that are stored as events.
            "adapters_by_mimetype": {
                mimetype: f"apsdm_bluesky.tiled_config._adapters:{adapter}"
                for mimetype, adapter in (
                    ("application/x-zarr;structure=events", "EventFramesAdapter"),
                    ("application/x-zarr;structure=sparse", "EventCoordinatesAdapter"),
                )
            },
        },
        # Otherwise `/asset/bytes?relative_path=../..` serves any file that the server's account can read
        # (Tiled 0.2.20). Data are read through `/array`, `/table` and exports, which do not need it.
        "expose_raw_assets": False,
        "authentication": {"allow_anonymous_access": False},
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
