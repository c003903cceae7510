"""The workflows that come with this package."""

from collections.abc import Sequence
from importlib.resources import files

from ._definition import Workflow
from ._yaml import parse_workflow


def shipped_workflows() -> Sequence[Workflow]:
    """All of them, by name; their owner is `apsdm`."""
    folder = files("apsdm_bluesky.workflows") / "shipped"
    found = sorted(folder.iterdir(), key=lambda file: file.name)
    return [parse_workflow(file.read_text(encoding="utf-8"), source=file.name) for file in found]
