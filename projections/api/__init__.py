"""The read routes. Each needs `request.state.reads`, a `domain.ports.Reads`."""

from typing import Final

from starlette.routing import Route

from projections.api import (
    accounts,
    audit_trail,
    balances,
    books,
    checkout,
    disputes,
    escrows,
    events,
    holds,
    journal,
    operations,
    payments,
    policies,
    reports,
    settlements,
)

routes: Final[list[Route]] = [
    *books.routes,
    *policies.routes,
    *accounts.routes,
    *balances.routes,
    *journal.routes,
    *holds.routes,
    *payments.routes,
    *checkout.routes,
    *operations.routes,
    *settlements.routes,
    *disputes.routes,
    *escrows.routes,
    *audit_trail.routes,
    *events.routes,
    *reports.routes,
]
