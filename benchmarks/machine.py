"""What it was measured on and with, which stands beside every figure."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import psycopg

SETTINGS: Final = (
    *("server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method"),
    *("shared_buffers", "max_wal_size", "checkpoint_timeout", "wal_compression"),
)
LIBRARIES: Final = ("psycopg", "uvicorn", "uvloop", "httptools", "eventsourcing", "django", "django-hordak")


def machine() -> dict[str, str]:
    """The machine, what else it does (the load average now), Python, and the libraries that are there."""
    libraries = {name: _version(name) for name in LIBRARIES}
    return {
        "CPUs": str(os.cpu_count()),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        **{name: found for name, found in libraries.items() if found},
    }


def settings(dsn: str) -> dict[str, str]:
    """What Postgres is set to, as far as it bears upon the figures."""
    with psycopg.connect(dsn) as connection:
        rows = {name: connection.execute(f"SHOW {name}".encode()).fetchone() for name in SETTINGS}
    return {name: str(row[0]) for name, row in rows.items() if row is not None}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
