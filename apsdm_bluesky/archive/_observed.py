"""What was observed of a bundle that a manifest tells of, as an event: pure."""

from typing import Any

from ._bundle import manifest_path
from ._events import Bundled, Event, Found, FoundHarmed
from ._found import FoundBundle


def observed(bundle: FoundBundle) -> Event:
    """`Found` where the destination has tar and manifest in their sizes; verified it is by the agent.

    `Bundled` where it lacks one of them and the local folder has both; else `FoundHarmed`.
    """
    wrong = _wrong_size(bundle) or ("" if bundle.local else _missing(bundle))
    if wrong:
        return FoundHarmed(**_told(bundle), reason=f"{wrong}, then resume")
    if bundle.tar is None or bundle.manifest is None:
        return Bundled(**_told(bundle))
    return Found(
        **_told(bundle),
        found_size=bundle.tar.size,
        found_md5=bundle.tar.md5,
        found_manifest_size=bundle.manifest.size,
        residency=bundle.residency,
    )


def _told(bundle: FoundBundle) -> dict[str, Any]:
    told = bundle.told
    names = ("size", "sha256", "md5", "manifest_size", "manifest_sha256")
    return {"destination": told.path, **{name: getattr(told, name) for name in names}}


def _wrong_size(bundle: FoundBundle) -> str:
    told, tar, manifest = bundle.told, bundle.tar, bundle.manifest
    if tar is not None and tar.size != told.size:
        return (
            f"{told.path}: has {tar.size} bytes at the destination, not {told.size}; put the whole one there"
        )
    if manifest is not None and manifest.size != told.manifest_size:
        return f"{manifest.path}: is damaged at the destination; put {bundle.source} in its place"
    return ""


def _missing(bundle: FoundBundle) -> str:
    if bundle.tar is None:
        return f"{bundle.told.path}: is not at the destination, its manifest is here; put it back there"
    if bundle.manifest is None:
        return f"{manifest_path(bundle.told.path)}: is not at the destination; copy {bundle.source} there"
    return ""
