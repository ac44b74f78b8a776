"""As whom Postgres runs, and where its files lie: it refuses to run as root, and Daybook may well be root.

One rule: no user is made, and nothing outside our own folders changes owner or mode.
"""

import hashlib
import os
import pwd
import stat
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from adapters.embedded_postgres.binaries import Binaries
from adapters.embedded_postgres.errors import EmbeddedPostgresError

# In a user namespace we appear to Postgres as this user, while to the rest of the machine all files are ours.
NAMESPACE = ("unshare", "--user", "--map-user=65534")
SYSTEM_STATE = Path("/var/lib/daybook")
# A socket's path may have about 100 bytes, and Postgres adds `/.s.PGSQL.5432`.
SOCKET_FOLDER_BYTES_MAX = 80


class AsUser(TypedDict, total=False):
    """What to tell `subprocess` about the user to become."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Footing:
    """Binaries, the folder that holds all of one major version's files, and who runs the one on the other."""

    binaries: Binaries
    place: Path
    prefix: tuple[str, ...] = ()
    user: pwd.struct_passwd | None = None

    @property
    def data(self) -> Path:
        return self.place / "data"

    @property
    def log(self) -> Path:
        return self.place / "postgres.log"

    @property
    def as_user(self) -> AsUser:
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def command(self, program: str, *arguments: str) -> list[str]:
        """The command line that runs one of the binaries as the right user, given `as_user` as well."""
        return [*self.prefix, str(self.binaries.bin / program), *arguments]

    def give(self, *paths: Path) -> None:
        """Make files or folders of ours the property of the user Postgres runs as."""
        if self.user is not None:
            for path in paths:
                os.chown(path, self.user.pw_uid, self.user.pw_gid, follow_symlinks=False)

    @property
    def sockets(self) -> Path:
        """The folder for the server's socket; one under the temp folder when our own path will not do as an address."""
        path = self.place / "socket"
        if len(os.fsencode(path)) <= SOCKET_FOLDER_BYTES_MAX and "," not in str(path):  # Clients split hosts at commas.
            return path
        # Always the same folder, whatever TMPDIR says: every Daybook on these data must look in one place.
        return Path("/tmp") / f"daybook-{_digest(self.place, os.geteuid())}"  # noqa: S108 - it is checked whose it is.

    def make_sockets(self) -> None:
        """Make the socket's folder, for Postgres and us alone.

        Raises:
            EmbeddedPostgresError: It is there already and is another's, or open to others.
        """
        try:
            self.sockets.mkdir(mode=0o700)
            self.give(self.sockets)
        except FileExistsError:
            self._assert_ours(self.sockets)

    def remove_sockets(self) -> None:
        """Leave nothing in the temp folder once the server has stopped."""
        with suppress(OSError):  # Not empty, or gone: then it is not ours to care for.
            self.sockets.rmdir()

    def _assert_ours(self, folder: Path) -> None:
        found = folder.lstat()  # Not followed: in a shared temp folder anyone may have planted a link, or a folder.
        mine = self.user.pw_uid if self.user else os.geteuid()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != mine or found.st_mode & 0o077:
            raise EmbeddedPostgresError(f"{folder} is not a folder that only this user can enter: remove it.")


def find_footing(home: Path, binaries: Binaries) -> Footing:
    """How to run `binaries` on data in `home`: as ourselves, or as root in a user namespace, else as `nobody`.

    Data that exist already decide: they stay where they are, and belong to whom they belong.

    Raises:
        EmbeddedPostgresError: As root, when another user is the only way and cannot reach the data.
    """
    place = home / f"pg{binaries.major}"
    if os.geteuid() != 0:
        place.mkdir(mode=0o700, exist_ok=True)
        # A container may run us as a number without a name, which initdb refuses; in a namespace we have one.
        prefix = NAMESPACE if not _has_name(os.geteuid()) and namespace_works(binaries) else ()
        return Footing(binaries, place, prefix)
    elsewhere = SYSTEM_STATE / _digest(home, 0) / place.name
    owner = _owner(place / "data")
    if owner is None and _owner(elsewhere / "data") is not None:
        return _as_another(binaries, elsewhere)
    if not owner and _reachable(home, 0) and namespace_works(binaries):
        place.mkdir(mode=0o700, exist_ok=True)
        return Footing(binaries, place, prefix=NAMESPACE)
    if owner is None and not _reachable(home.parent, _user("nobody").pw_uid):
        return _as_another(binaries, elsewhere)
    return _as_another(binaries, place)


def namespace_works(binaries: Binaries) -> bool:
    """Whether Postgres runs in a user namespace here; containers often forbid it."""
    try:
        trial = [*NAMESPACE, str(binaries.bin / "postgres"), "--version"]
        return subprocess.run(trial, capture_output=True, timeout=30).returncode == 0  # noqa: S603 - fixed words.
    except (OSError, subprocess.TimeoutExpired):
        return False


def _as_another(binaries: Binaries, place: Path) -> Footing:
    """Run as the owner of the data, or as `nobody` where they are root's or there are none yet."""
    owner = _owner(place / "data")
    user = _user(owner or "nobody")
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    _let_through(place.parent)
    if place.is_relative_to(SYSTEM_STATE):
        _let_through(SYSTEM_STATE)
    if not _reachable(place.parent, user.pw_uid):
        raise EmbeddedPostgresError(
            f"Postgres does not run as root, and the user {user.pw_name} cannot reach {place}. Run Daybook as an "
            "ordinary user, or move its folder to where every user may pass, and name it in DAYBOOK_HOME."
        )
    copy = not _reachable(binaries.bin, user.pw_uid)
    footing = Footing(binaries.copied_under(place) if copy else binaries, place, user=user)
    if owner != user.pw_uid:
        footing.give(place, *place.rglob("*"))
    elif copy:
        footing.give(*footing.binaries.bin.parents[2].rglob("*"))
    return footing


def _let_through(folder: Path) -> None:
    """Let other users pass a folder of ours, though not see what is in it."""
    folder.chmod(folder.stat().st_mode | 0o011)


def _reachable(folder: Path, uid: int) -> bool:
    """Whether a user without privileges can get to `folder`, leaving groups aside."""
    passes = [(found.st_mode & 0o001) or (found.st_uid == uid) for found in map(os.stat, [folder, *folder.parents])]
    return all(passes)


def _owner(path: Path) -> int | None:
    return path.stat().st_uid if path.exists() else None


def _has_name(uid: int) -> bool:
    try:
        return bool(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return False


def _user(who: int | str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(who) if isinstance(who, int) else pwd.getpwnam(who)
    except KeyError:
        raise EmbeddedPostgresError(
            f"Postgres does not run as root, and there is no user {who} to run it as."
        ) from None


def _digest(path: Path, uid: int) -> str:
    return hashlib.sha256(f"{uid}:{path}".encode()).hexdigest()[:16]
