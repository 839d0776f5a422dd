"""What the numbers were made on: versions of packages, processor, cores, date; and which peers are installed."""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "confrere", "numpy", "scipy", "pandas", "numba", "cryptography", "duckdb", "lifelines", "scikit-survival",
    "statsmodels", "glum", "tabmat", "scikit-learn", "altair", "vl-convert-python",
)  # fmt: skip
R = """
blas <- extSoftVersion()[["BLAS"]]
cat(R.version$major, ".", R.version$minor, "\n", as.character(packageVersion("survival")), "\n",
    if (nzchar(blas)) basename(blas) else "its own", "\n", sep = "")
"""


def described() -> dict[str, Any]:
    """The machine and what is installed on it; None for what is not."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "r": _r(),
    }


def installed(package: str, machine: dict[str, Any]) -> bool:
    """Whether a peer is there; "R" means R with the package survival."""
    return machine["r"] is not None if package == "R" else machine["packages"][package] is not None


def said(package: str, machine: dict[str, Any]) -> str:
    """A peer and its version."""
    if not installed(package, machine):
        return f"{package} (not installed)"
    return f"R {machine['r']['version']}" if package == "R" else f"{package} {machine['packages'][package]}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _r() -> dict[str, str] | None:
    if shutil.which("Rscript") is None:
        return None
    done = subprocess.run(["Rscript", "-e", R], capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    return dict(zip(("version", "survival", "blas"), done.stdout.split("\n"), strict=False))


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    return names[0].split(":")[1].strip() if names else platform.processor() or "unknown"
