"""The machine and the versions, as every figure must be quoted with them."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib import metadata

from fastjac.kernels.simd import compiler_target, register_bytes

from fastjac.support.cores import default_threads

_PACKAGES = ("fastjac", "numpy", "numba", "llvmlite", "torch", "jax", "scikit-learn")


def describe() -> dict[str, str]:
    """What was measured on."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "compiled for": f"{compiler_target()[0]}, {8 * register_bytes()}-bit vectors",
        "cores": str(default_threads()),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "date": datetime.now(timezone.utc).date().isoformat(),
    }


def _processor() -> str:
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
