"""Which members of a bundle are asked for: pure."""

from collections.abc import Iterable

from apsdm_bluesky.model import BundleMember, Manifest

DOCUMENTS = "documents/"


def named_members(manifest: Manifest, names: Iterable[str]) -> list[BundleMember]:
    """The members of these names, or in the folders of these names."""
    wanted = [name.rstrip("/") for name in names]
    return [
        member
        for member in manifest.members
        if any(member.path == name or member.path.startswith(f"{name}/") for name in wanted)
    ]


def members_of_run(manifest: Manifest, run: str) -> list[BundleMember]:
    """The members that belong to a run.

    All of them where the manifest is of a schema that does not tell: such bundles hold one run and its
    analyses.
    """
    if not any(member.runs for member in manifest.members):
        return list(manifest.members)
    return [member for member in manifest.members if run in member.runs]
