"""The command line: each command is a thin composition root; `main` turns what goes wrong into one line and a code."""

import signal
import sys
from types import FrameType
from typing import NoReturn

import typer

from adapters.cli import (
    asking,
    backing_up,
    configuring,
    demo,
    differing,
    digesting,
    exporting,
    importing,
    projecting,
    serving,
    simulating,
    verifying,
)
from adapters.cli.failing import FAILED, Failed, Terminated
from adapters.embedded_postgres import EmbeddedPostgresError
from adapters.postgres.migrate import MigrationError
from domain.errors import EventMalformed, EventTooNew, Unavailable

app = typer.Typer(
    name="daybook",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="""An event-sourced, double-entry book of payments on Postgres.

    Without a DATABASE_URL, Daybook starts a Postgres of its own, keeps its
    data under DAYBOOK_HOME, and says where that is.

    Try it:

      daybook demo              a server with a small shop's books
      daybook import --accounts accounts.csv --journal journal.csv
      daybook balance --all
      daybook replay --at 2026-01-31T18:00:00Z
                                as it was known then, from the log alone
      daybook verify            nobody has edited the answer

    Exit codes:

      0  done
      1  done, and the answer is no: rows were rejected, something does not
         match, there is no such thing
      2  it could not be done, or not to the end

    What programs read is on stdout, everything else on stderr.
    """,
)

app.command()(demo.demo)
app.command()(serving.serve)
app.command()(serving.project)
app.command()(serving.migrate)
app.add_typer(projecting.projections)
app.command()(projecting.rebuild)
app.command("import")(importing.import_)
app.command()(exporting.export)
app.command()(asking.accounts)
app.command()(asking.balance)
app.command()(asking.entry)
app.command()(asking.replay)
app.command()(differing.diff)
app.command()(digesting.digest)
app.command()(backing_up.backup)
app.command()(backing_up.restore)
app.command()(verifying.verify)
app.command()(configuring.config)
app.command()(simulating.simulate)


def main() -> NoReturn:
    """The console script."""
    if not __debug__:
        sys.exit("daybook: asserts are compiled away (python -O, PYTHONOPTIMIZE), and with them what guards the books")
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except Failed as error:
        _say(error)
        sys.exit(error.exit_code)
    except (Unavailable, MigrationError, EmbeddedPostgresError, EventTooNew, EventMalformed) as error:
        _say(error)
    sys.exit(FAILED)


def _say(error: Exception) -> None:
    print(f"daybook: {error or type(error).__name__}", file=sys.stderr)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
