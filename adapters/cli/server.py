"""A running server that a command asks over HTTP; what goes wrong with it, in words."""

from collections.abc import Iterator
from contextlib import contextmanager

from adapters.cli.database import say
from adapters.cli.failing import NO, Failed
from adapters.client import Client, DaybookError, OutcomeUnknown, Patience, Refused, Unavailable

IMPATIENCE_S = 3.0
"""How long is waited for a server that may not be there at all."""


@contextmanager
def server(url: str, *, actor: str) -> Iterator[Client]:
    """A client of the server, which is there and speaks as Daybook does; which one it is is said on stderr.

    Raises:
        Failed: It cannot be reached; or whatever the client raises within.
    """
    say(f"Server: {url}")
    with told(url):
        with Client(url, actor=actor, patience=Patience(total_s=IMPATIENCE_S)) as first:
            first.readyz()
        with Client(url, actor=actor, patience=Patience(total_s=30)) as client:
            yield client


@contextmanager
def told(url: str) -> Iterator[None]:
    """What the client raises within, as the end of a command.

    Raises:
        Failed: With NO for a business no, as of something that is not there.
    """
    try:
        yield
    except Refused as error:
        raise Failed(str(error), exit_code=NO) from error
    except OutcomeUnknown as error:
        raise Failed(f"{url}: {error}") from error
    except Unavailable as error:
        raise Failed(f"the server {url} does not answer: {error}") from error
    except DaybookError as error:
        raise Failed(f"the server {url} cannot be asked that: {error}") from error


def head(client: Client) -> int:
    """The log's last position.

    Raises:
        Failed: The server cannot reach its database.
    """
    position = client.readyz().database.position
    if position is None:
        raise Failed("the server runs, but cannot reach its database")
    return position
