"""The key of the payers' secrets: made once for all processes, and no business of whoever reads."""

from uuid import UUID

import psycopg

from adapters.postgres.migrate import migrate
from adapters.postgres.secrets import client_secrets

ONE = UUID(int=1)


def test_it_is_made_once(database: str) -> None:
    """
    Every process has the same, whoever migrates again; and it is 32 bytes that no other database has.
    """
    first = client_secrets(database).of(ONE)
    migrate(database)

    assert client_secrets(database).of(ONE) == first
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT name, length(value) FROM daybook.secrets").fetchall()
    assert found == [("client_secrets", 32)]


def test_nobody_else_may_read_it(database: str) -> None:
    """
    Its owner alone, whatever others are given of the read models or of what is to come in the schema.
    """
    with psycopg.connect(database) as connection:
        grantees = connection.execute(
            "SELECT DISTINCT grantee::regrole::text"
            " FROM pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner)))"
            " WHERE oid = 'daybook.secrets'::regclass"
        ).fetchall()
        [owner] = connection.execute("SELECT current_user").fetchall()
        [may] = connection.execute("SELECT has_table_privilege('public', 'daybook.secrets', 'SELECT')").fetchall()

    assert grantees == [owner] and may == (False,)
