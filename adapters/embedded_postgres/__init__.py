"""A real Postgres that Daybook starts and stops by itself, from binaries that pip installed.

One rule: what was acknowledged survives any kill, of Daybook or of Postgres. So the server outlives a killed Daybook,
and the next Daybook adopts it. For Linux and macOS, and one machine; for anything else there is `DATABASE_URL`.
"""

from adapters.embedded_postgres.errors import EmbeddedPostgresError
from adapters.embedded_postgres.server import Server, default_home, running

__all__ = ["EmbeddedPostgresError", "Server", "default_home", "running"]
