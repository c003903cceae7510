"""What a figure depends on: versions, machine, commit. Nothing that tells whose machine it is."""

import os
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


def surroundings() -> dict[str, Any]:
    """JSON-able: commit, Python, machine."""
    return {"commit": commit(), "python": platform.python_version(), "machine": machine()}


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Installed versions of these distributions, and ours."""
    return {name: version(name) for name in ("apsdm-bluesky", *packages)}


def machine() -> dict[str, Any]:
    """Processor, cores that we may use, memory, kind of disk, and how busy others keep them (load)."""
    pages, page_size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _cpu_model(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages * page_size / 2**30, 1),
        "system": platform.system(),
        "temporary_files_on": _output("stat", "-f", "-c", "%T", tempfile.gettempdir()),
        "load": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return "unknown"


def commit() -> str | None:
    """The commit of the tree, with ``+changes`` where tracked files differ; None outside of git."""
    head = _output("git", "rev-parse", "HEAD")
    if not head:
        return None
    return f"{head}+changes" if _output("git", "status", "--porcelain", "--untracked-files=no") else head


def _output(*command: str) -> str | None:
    """What a command prints; None where it is not there or fails."""
    try:
        done = subprocess.run(command, cwd=_HERE, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
