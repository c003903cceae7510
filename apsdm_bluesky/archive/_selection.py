"""Which members of a bundle are asked for: pure, but for the documents of a run that shares it."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from apsdm_bluesky.errors import FormatError
from apsdm_bluesky.model import BundleMember, Manifest
from apsdm_bluesky.spool import RunFile

from ._sources import ZARR_GROUP_FILES, external_resources

DOCUMENTS = "documents/"


def named_members(manifest: Manifest, names: Iterable[str]) -> list[BundleMember]:
    """The members of these names, or in the folders of these names."""
    wanted = [name.rstrip("/") for name in names]
    return [member for member in manifest.members if any(_within(member.path, name) for name in wanted)]


def members_of_run(
    manifest: Manifest, run: str, documents: Callable[[BundleMember], RunFile]
) -> list[BundleMember]:
    """The members that belong to a run: its documents, and the files that they refer to.

    Where the run does not share the bundle these are all. A run that fills several bundles shares them with
    none but its analyses, which come along.

    Parameters
    ----------
    documents
        Gives the run whose documents a member holds.

    Raises
    ------
    FormatError
        The bundle has not what the run's documents refer to.
    """
    if len(manifest.runs) == 1 or manifest.parts > 1:
        return list(manifest.members)
    mine = f"{DOCUMENTS}{run}.jsonl"
    held = next((member for member in manifest.members if member.path == mine), None)
    if held is None:
        raise FormatError(f"{manifest.bundle}: has no documents of run {run}; name its members instead")
    places = [_places(str(doc.get("uri"))) for doc, _ in external_resources(documents(held))]
    chosen = [member for member in manifest.members if any(_belongs(member, place) for place in places)]
    for place in places:
        if not any(_within(member.source, path) for member in chosen for path in place):
            raise FormatError(f"{manifest.bundle}: has no file of {place[0]}; name members instead")
    return [held, *chosen]


def _places(uri: str) -> Sequence[str]:
    """The path of a file URI as it stands and without links: a bundle has the latter."""
    path = unquote(urlsplit(uri).path).rstrip("/")
    return path, str(Path(path).resolve())


def _belongs(member: BundleMember, place: Sequence[str]) -> bool:
    """Whether it is a file at or under the place, or metadata of a Zarr group that the place is in."""
    if any(_within(member.source, path) for path in place):
        return True
    folder, _, name = member.source.rpartition("/")
    return name in ZARR_GROUP_FILES and any(_within(path, folder) for path in place)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
