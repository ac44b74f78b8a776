"""`pg_dump` and `pg_restore`: found in a version that will do, run without a password on the command line."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from adapters.embedded_postgres.binaries import find_binaries
from adapters.embedded_postgres.errors import EmbeddedPostgresError


class ToolFailed(Exception):
    """A tool of Postgres is not to be had, or failed."""


class Tool(Struct, frozen=True):
    """A program of Postgres, and its version, such as `18.4`."""

    path: Path
    version: str

    @property
    def major(self) -> int:
        return major(self.version)


def major(version: str) -> int:
    """The 18 of `18.4` or `18beta1`."""
    return int(re.split(r"\D", version, maxsplit=1)[0])


def find(name: str, *, oldest_major: int) -> Tool:
    """The first of that name and a version that is new enough: beside the embedded server, on PATH, of the system.

    Raises:
        ToolFailed: There is none.
    """
    seen = []
    for folder in _folders():
        tool = _tool(folder / name)
        if tool is not None and tool.major >= oldest_major:
            return tool
        seen += [tool.version] if tool is not None else []
    found = f"; found: {', '.join(seen)}" if seen else ""
    raise ToolFailed(f"{name} of Postgres {oldest_major} or newer is needed{found}")


def run(tool: Tool, dsn: str, arguments: list[str]) -> None:
    """Run it on the database of the DSN.

    Raises:
        ToolFailed: It ended otherwise than well; with the first line it said.
    """
    parts = {name: str(value) for name, value in conninfo_to_dict(dsn).items() if value is not None}
    password = parts.pop("password", None)
    environment = os.environ | ({"PGPASSWORD": password} if password is not None else {})
    command = [str(tool.path), f"--dbname={make_conninfo(**parts)}", "--no-password", *arguments]
    ran = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)  # noqa: S603 - Postgres' own program, our words.
    if ran.returncode != 0:
        said = ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"]
        raise ToolFailed(said[0])


def _folders() -> Iterator[Path]:
    with suppress(EmbeddedPostgresError):
        yield find_binaries().bin
    if on_path := shutil.which("pg_dump"):
        yield Path(on_path).parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def _tool(path: Path) -> Tool | None:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30).stdout  # noqa: S603 - as above.
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r"\) (\d+\S*)", said)
    return Tool(path, version[1]) if version else None
