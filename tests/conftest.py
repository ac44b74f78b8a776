"""One Postgres for all tests of a run, a fresh migrated database for each test that asks.

The server is DATABASE_URL's, if that is set (its role must be able to create databases), else an embedded one.
"""

import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from adapters.embedded_postgres import running
from adapters.postgres.migrate import migrate

# A shell without job control has what it starts in the background ignore Ctrl-C, and all that is started from there.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Server(NamedTuple):
    """DSNs of the role that makes databases and of the role that owns and uses them, which is no superuser."""

    admin: str
    owner: str


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The workers of a run share one embedded server; the last to leave stops it."""
    given = os.environ.get("DATABASE_URL")
    if given:
        yield Server(given, given)
        return
    base = tmp_path_factory.getbasetemp()
    home = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "postgres"
    with running(Path(home)) as embedded:
        yield Server(embedded.superuser_dsn, embedded.dsn)


@pytest.fixture(scope="session")
def template(server: Server) -> Iterator[str]:
    """The name of a migrated database to make copies of."""
    with database_on(server) as dsn:
        migrate(dsn)
        yield str(conninfo_to_dict(dsn)["dbname"])


@pytest.fixture
def empty_database(server: Server) -> Iterator[str]:
    """The DSN of a database with nothing in it."""
    with database_on(server) as dsn:
        yield dsn


@pytest.fixture
def database(server: Server, template: str) -> Iterator[str]:
    """The DSN of a fresh, migrated database of this test's own."""
    with database_on(server, template=template) as dsn:
        yield dsn


@contextmanager
def database_on(server: Server, *, template: str = "template0") -> Iterator[str]:
    """A database that lives as long as the `with` block."""
    name, owner = f"daybook_test_{uuid.uuid4().hex[:12]}", conninfo_to_dict(server.owner)["user"]
    with psycopg.connect(server.admin, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE {name} TEMPLATE {template} OWNER "{owner}"'.encode())
        try:
            yield make_conninfo(server.owner, dbname=name)
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
