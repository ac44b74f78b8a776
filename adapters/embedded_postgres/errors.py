"""The one error of this adapter."""


class EmbeddedPostgresError(Exception):
    """The embedded Postgres cannot be had; the message says what failed, what to do, and where the log is."""
