"""What is acknowledged is on disk, whatever the database's defaults are."""

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from adapters.postgres.store import PostgresEventStore
from domain.errors import EventTooNew, refusal_from


@pytest.mark.parametrize(("default", "used"), [("off", "on"), ("on", "on"), ("remote_apply", "remote_apply")])
def test_a_commit_waits_for_the_disk(database: str, default: str, used: str) -> None:
    """
    A database that would acknowledge before the disk has it is overruled; one that waits for more is left at that.
    """
    name = conninfo_to_dict(database)["dbname"]
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = {default}".encode())
    store = PostgresEventStore(database)

    with store.writing() as writing:
        found = writing.connection.execute("SHOW synchronous_commit").fetchone()

    store.close()
    assert found == (used,)


@pytest.mark.parametrize(("code", "details"), [("tax_due", {}), ("account_closed", {"account_id": "x", "by": "y"})])
def test_a_refusal_of_a_newer_daybook_is_not_guessed_at(code: str, details: dict[str, str]) -> None:
    """
    A kept refusal with an unknown code, or fields, was written by a newer Daybook.
    """
    with pytest.raises(EventTooNew):
        refusal_from(code, details)
