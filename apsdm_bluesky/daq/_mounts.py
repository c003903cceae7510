"""Which file system a folder lies on: inotify tells nothing of what other machines do."""

import os
import re
from pathlib import Path

_SHARED = frozenset(
    {"9p", "acfs", "afs", "beegfs", "beegfs_nodev", "ceph", "cifs", "coda", "davfs", "drvfs", "exfs", "fhgfs"}
    | {"gfs2", "gpfs", "lustre", "mmfs", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "prl_fs"}
    | {"pvfs2", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs", "wekafs"}
)
_ESCAPE = re.compile(r"\\([0-7]{3})")


def is_shared(kind: str) -> bool:
    """Whether other machines may write to a file system of this type, so that changes are not told here.

    Of FUSE nobody knows what is behind it: it counts as shared. (fuseblk is a local disk.)
    """
    return kind in _SHARED or kind == "fuse" or kind.startswith("fuse.")


def file_system_of(fd: int) -> str | None:
    """The type of the file system that an open folder lies on, as in /proc/self/mountinfo; None: unknown."""
    path = str(Path(f"/proc/self/fd/{fd}").readlink())
    mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    return file_system_in(mounts, os.fstat(fd).st_dev, path)


def file_system_in(mounts: str, device: int, path: str) -> str | None:
    """The type of a file system, by its device number; where that is not listed (btrfs), by the path.

    Parameters
    ----------
    mounts
        What /proc/self/mountinfo holds (proc_pid_mountinfo(5)).
    """
    number = f"{os.major(device)}:{os.minor(device)}"
    best: tuple[int, str | None] = (-1, None)
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        _, _, listed, _, place, *_ = fields.split(" ")
        kind = rest.split(" ", 1)[0]
        if listed == number:
            return kind
        place = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), place)
        if f"{path}/".startswith(f"{place.rstrip('/')}/") and len(place) >= best[0]:
            best = len(place), kind
    return best[1]
