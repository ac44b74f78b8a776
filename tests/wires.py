"""What tests of the wire rail begin with: a house, its bank, a payee, and instructions to pay them."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from adapters.rails.wire.conversation import Bank, House
from domain.rail import Iban, Instruction, Operation, Rail

VECTORS = Path(__file__).parent / "vectors" / "wire"
SHARED = Path(__file__).parents[2] / "shared" / "data" / "vectors" / "iso20022"
NO_SHARED = f"the sample messages of real banks are not there: {SHARED.name} in ../shared/data/vectors"

SENT_AT = datetime(2026, 3, 2, 10, 15, 30, tzinfo=UTC)
DAY = date(2026, 3, 3)
HOUSE = House(name="Daybook Payments Ltd", country="DE", bic="DAYBDEFFXXX")
BANK = Bank(route="rhein", url="http://bank.test/wire", bic="COBADEFFXXX", account="DE89370400440532013000")
PAYEE = Iban(iban="GB33BUKB20201555555555", bic="BUKBGB22", holder="Zoë & Söhne", country="GB")
REQUEST_ID = "2HkDq7VyWx9pRt3sFz5aBc"
PAID_ID = "1aBcDeFgHiJkLmNoPqRsTu"


def instruction(operation: Operation = Operation.PAYOUT, **changes: Any) -> Instruction:
    """To pay EUR 123.45 to PAYEE, or as the changes say; what is upon something is upon PAID_ID."""
    upon = {} if operation is Operation.PAYOUT else {"original": "B0001", "original_request_id": PAID_ID}
    given: dict[str, Any] = {
        "request_id": REQUEST_ID,
        "operation": operation,
        "rail": Rail.WIRE,
        "route": BANK.route,
        "amount": 12345,
        "currency": "EUR",
        "method": PAYEE,
        "sent_at": SENT_AT,
        "descriptor": "Invoice 4711",
        **upon,
    }
    return Instruction(**(given | changes))
