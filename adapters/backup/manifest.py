"""What a backup says of itself: which moment it is of, and which bytes it is."""

from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
DUMP: Final = "database.dump"


class BadBackup(Exception):
    """The folder is no backup, or is not whole any more."""


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`head` and `seal` (hexadecimal, empty of an empty log) are the log's end as dumped; `migrations` those applied.

    `size` in bytes and `sha256` are of the dump.
    """

    daybook_backup: int
    taken_at: datetime
    head: int
    recorded_at: datetime | None
    seal: str
    migrations: list[str]
    daybook: str
    postgres: str
    pg_dump: str
    size: int
    sha256: str


def digest_of(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal; read piece by piece."""
    hashed = sha256()
    with file.open("rb") as opened:
        while piece := opened.read(1024 * 1024):
            hashed.update(piece)
    return hashed.hexdigest()


def write(folder: Path, manifest: Manifest) -> None:
    """The manifest, for people to read as well."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    (folder / MANIFEST).write_bytes(text)


def read(folder: Path) -> Manifest:
    """The manifest of a backup whose dump is the one it was written for.

    Raises:
        BadBackup: It is not.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
        if manifest.daybook_backup != FORMAT:
            raise BadBackup(f"{folder} is a backup of format {manifest.daybook_backup}; this Daybook knows {FORMAT}")
        found = digest_of(folder / DUMP)
    except OSError as error:
        raise BadBackup(f"{folder} is no backup: {error.filename}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadBackup(f"{folder / MANIFEST} is not a manifest: {error}") from error
    if found != manifest.sha256:
        raise BadBackup(f"{folder / DUMP} is not what was written: its SHA-256 is {found}, not {manifest.sha256}")
    return manifest
