"""Secrets that all processes upon one database share."""

from adapters.postgres.datastore import connect
from domain.client_secret import ClientSecrets


def client_secrets(dsn: str) -> ClientSecrets:
    """What tells payers from strangers; the database must be migrated.

    Raises:
        Unavailable: Postgres cannot be reached.
    """
    with connect(dsn) as connection:
        [(key,)] = connection.execute("SELECT value FROM daybook.secrets WHERE name = 'client_secrets'").fetchall()
    return ClientSecrets(key)
