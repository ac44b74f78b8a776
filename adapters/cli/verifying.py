"""`daybook verify`: nobody has edited the answer, or here is where."""

from typing import Annotated, Any

import msgspec
import typer

from adapters.cli import showing
from adapters.cli.database import database
from adapters.cli.settings import DatabaseUrl, Home
from adapters.garbage import collecting_rarely
from adapters.postgres.log import PostgresLog
from replay.report import Check, Report
from replay.verify import verify as verify_stored


def verify(
    database_url: DatabaseUrl = None,
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="The whole report as JSON, for programs.")] = False,
) -> None:
    """Check what is stored against itself: nothing is changed, and nothing is believed.

    Every seal is hashed again over its events' stored bytes; positions,
    versions and times are looked at for holes; every posting and every read
    model is derived again from the events, and compared row by row. Any
    database will do that can be read, a replica too.

    What this cannot see is an end of the log that was cut off whole, or a
    history rewritten with all its seals and everything derived from it: for
    that, keep the head's seal elsewhere.

    Exit codes:

      0  everything was checked, and holds
      1  something does not match; the first bad position is named
      2  something could not be checked

    Examples:

      daybook verify
      daybook verify --json --database-url postgresql://auditor@replica/books
    """
    with (
        collecting_rarely(),
        database(database_url, home) as dsn,
        PostgresLog(dsn) as log,
        showing.bar("verifying") as bar,
    ):
        report = verify_stored(log, progress=lambda done, of: bar.update(bar.task_ids[0], completed=done, total=of))
    if as_json:
        showing.json(_report_json(report))
    else:
        _show(report)
    raise typer.Exit(report.exit_code)


def _report_json(report: Report) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(report)
    return {
        "verdict": report.verdict,
        "exit_code": report.exit_code,
        "first_bad_position": report.first_bad_position,
        **shown,
    }


def _show(report: Report) -> None:
    rows = [(check.name, f"{check.checked:,}", str(check.through), _result(check)) for check in report.checks]
    note = f"log at position {report.head}, recorded {showing.instant(report.recorded_at)}"
    showing.table("Verified", ("what", "checked ", "through ", "result"), rows, note=note)
    if report.findings:
        found = [
            (str(finding.position or "-"), finding.code, finding.subject, finding.expected, finding.found)
            for finding in report.findings
        ]
        counts = ", ".join(f"{code} {count}" for code, count in report.counts.items())
        showing.table("Mismatches", ("position ", "code", "what", "expected", "found"), found, note=counts)
    where = f"; first bad position: {report.first_bad_position}" if report.first_bad_position is not None else ""
    typer.echo(f"{report.verdict.upper()}{where}")


def _result(check: Check) -> str:
    problems = f"{check.problems} mismatches" if check.problems else ""
    incomplete = f"INCOMPLETE: {check.incomplete}" if check.incomplete else ""
    return "; ".join(part for part in (problems, incomplete) if part) or "holds"
