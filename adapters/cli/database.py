"""Which database a command works on: the one it is given, else the environment's, else an embedded one."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from adapters.cli.failing import Failed
from adapters.cli.settings import settings
from adapters.embedded_postgres import default_home, running
from adapters.postgres.migrate import migrate

OnEvent = Callable[[str, dict[str, object]], None]

_SAID = {
    "postgres.initialising": "making a new Postgres {version} in {data}",
    "postgres.waiting": "waiting for Postgres since {waited_s} s: {log}",
    "postgres.restarted": "Postgres had died and runs again",
    "postgres.restart_failed": "Postgres died and does not start: {error}",
}


def say(text: str) -> None:
    """A line for whoever looks on; what programs read is on stdout."""
    print(text, file=sys.stderr, flush=True)


def tell(event: str, fields: dict[str, object]) -> None:
    """What happens to the embedded Postgres, in words; what goes as it should is not told."""
    if event in _SAID:
        say(_SAID[event].format_map(fields))


@contextmanager
def database(
    database_url: str | None, home: Path | None, *, migrated: bool = False, on_event: OnEvent = tell
) -> Iterator[str]:
    """The DSN of the database to work on, which is there for as long as this lasts; where it is is said on stderr.

    Args:
        migrated: Bring it up to date first. Commands that only look leave a database that is given as it is.

    Raises:
        Failed: The DSN is malformed.
        EmbeddedPostgresError: The embedded Postgres cannot be had.
        MigrationError, Unavailable: It cannot be brought up to date.
    """
    chosen = settings()
    given = database_url or (None if home else chosen.database_url)
    if given:
        say(f"Data: {without_password(given)}")
        if migrated:
            migrate(given)
        yield given
        return
    folder = home or chosen.home or default_home()
    with running(folder, on_event=on_event) as server:
        say(f"Data: {server.data} (Postgres {server.version}, Daybook's own)")
        migrate(server.dsn)
        yield server.dsn


def without_password(dsn: str) -> str:
    """The DSN as it may be shown."""
    try:
        parts = {name: str(value) for name, value in conninfo_to_dict(dsn).items() if value is not None}
    except psycopg.Error as error:
        # What libpq says of it may be a part of it, and that a password.
        raise Failed("the database's DSN cannot be read: it is neither a URL nor keywords of Postgres") from error
    user = f"{parts['user']}@" if "user" in parts else ""
    port = f":{parts['port']}" if "port" in parts else ""
    return f"postgresql://{user}{parts.get('host', '')}{port}/{parts.get('dbname', '')}"
