"""The HTTP routes of commands: fetch, ask, answer. What a route needs is laid in `request.state` before it runs."""

from starlette.routing import Route

from commands.api import account, batch, book, escrow, hold, journal, payment, policy, settlement

routes: list[Route] = [
    *journal.routes,
    *batch.routes,
    *hold.routes,
    *escrow.routes,
    *payment.routes,
    *settlement.routes,
    *account.routes,
    *book.routes,
    *policy.routes,
]
