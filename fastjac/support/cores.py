"""How many cores this process may use: what it is bound to, and what its containers allow."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path, PurePosixPath


def threads_at_most(asked: int | None) -> int:
    """How many threads to use at most: those asked for, or ``default_threads()``, but no more than ``usable_cores()``.

    Threads that share a step wait for each other: one without a core of its own makes all of them slower.
    """
    return default_threads() if asked is None else min(asked, usable_cores())


def default_threads() -> int:
    """``usable_cores()``, and no more than OMP_NUM_THREADS: joblib's workers, for one, have it set."""
    cores = usable_cores()
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores, int(wanted))) if wanted.isdecimal() else cores


def usable_cores() -> int:
    """The cores that this process may use: its affinity, and on Linux the quota of its control groups, rounded down."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        count = getattr(os, "process_cpu_count", os.cpu_count)  # from Python 3.13 on it knows what -X cpu_count says
        cores = count() or 1
    if sys.platform == "linux":
        cores = min(cores, _quota_once())
    return max(1, cores)


@functools.cache
def _quota_once() -> int:
    """Read once a process: it takes as long as some steps of training."""
    quota = cpu_quota(Path("/"))
    return sys.maxsize if quota is None else int(quota)


def cpu_quota(root: Path) -> float | None:
    """The processor time a second that control groups, version 1 and 2, allow this process; None for no limit.

    Every group counts, up to the outermost that can be seen: each may have a limit of its own.

    Args:
        root: the root of the file system; another folder to read other files.
    """
    try:
        groups = _groups(_lines(root / "proc/self/cgroup"))
        mounts = _mounts(_lines(root / "proc/self/mountinfo"))
    except (OSError, ValueError, IndexError):
        return None
    found = []
    for kind, mounted, point in mounts:
        if kind not in groups:
            continue
        group = PurePosixPath(groups[kind])
        # in a container the group may be named as the host sees it, and only a part of the tree be mounted
        inside = group.relative_to(mounted) if group.is_relative_to(mounted) else PurePosixPath()
        for one in (inside, *inside.parents):
            quota = _quota_in(root / point.relative_to("/") / one, kind)
            if quota is not None:
                found.append(quota)
    return min(found, default=None)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()


def _groups(lines: list[str]) -> dict[str, str]:
    """The process's group by kind, "cgroup2" or "cgroup" (only that of the controller `cpu`)."""
    groups = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            groups["cgroup2"] = path
        elif "cpu" in controllers.split(","):
            groups["cgroup"] = path
    return groups


def _mounts(lines: list[str]) -> list[tuple[str, PurePosixPath, PurePosixPath]]:
    """Where the trees of groups are mounted: kind, which part of the tree, where."""
    mounts = []
    for line in lines:
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "cpu" in options.split(",")):
            part, point = (_unescaped(field) for field in before.split(" ")[3:5])
            mounts.append((kind, PurePosixPath(part), PurePosixPath(point)))
    return mounts


def _unescaped(field: str) -> str:
    """A path of mountinfo, where a space is \\040."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field


def _quota_in(folder: Path, kind: str) -> float | None:
    """What one group allows: some microseconds in each period of so many; "max" or -1 for no limit."""
    try:
        if kind == "cgroup2":
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if quota != "max" and int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None  # no such file: the outermost group has none
