"""Callbacks for the RunEngine: what happens to its documents while it runs."""

from ._catalog_writer import CatalogWriter

__all__ = ["CatalogWriter"]
