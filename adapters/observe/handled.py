"""What there is to say about a request once it is over."""

from msgspec import Struct


class Handled(Struct, frozen=True):
    """Never a key, a body or a query. `route` is the path as a template, empty for an unknown path.

    `status` is 0 when the caller left before it was answered; `code` is that of the problem answered, empty without;
    `command` is the kind of the command, empty for a read; `position` is where in the log its answer is, None of a
    dry run, which keeps nothing.
    """

    method: str
    route: str
    status: int
    seconds: float
    request_id: str
    correlation_id: str
    actor: str
    command: str
    code: str
    position: int | None
    replayed: bool
    refused: bool
    dry_run: bool = False

    @property
    def outcome(self) -> str:
        """Of a command: `applied`, `refused`, `replayed`, `dry_run`, or `failed` when it was not decided."""
        if self.dry_run:
            return "dry_run"
        if self.position is None:
            return "failed"
        if self.replayed:
            return "replayed"
        return "refused" if self.refused else "applied"
