"""A client for Daybook's HTTP API, to call and wait or to await. It needs httpx2 and msgspec, and nothing of Daybook.

    with Client("http://127.0.0.1:8080", actor="me") as daybook:
        daybook.open_book("shop", key="open-shop")
        bank = daybook.open_account("shop", "assets:bank", "asset", "EUR", key="open-bank")
        daybook.open_account("shop", "revenue:sales", "revenue", "EUR", overdraft_limit=None, key="open-sales")
        postings = [debit("assets:bank", 1050, "EUR"), credit("revenue:sales", 1050, "EUR")]
        daybook.post_entry("shop", postings, description="Coffee sold", key="sale-1")
        print(daybook.read_balance(bank.id).balance)  # 1050, minor units: 10.50 euro

`python -m adapters.client http://127.0.0.1:8080` does just that. A command with a key may be asked again, by whomever
and whenever: it has one effect, and the first answer is given again. The client asks again by itself when an answer
is lost or Daybook is out of reach; if it cannot learn what came of a command, it raises `OutcomeUnknown` with the key.
"""

from adapters.client.attempts import Answer, Patience
from adapters.client.calls import Answered, Call, Listing, credit, debit
from adapters.client.client import AsyncClient, Client
from adapters.client.errors import (
    DaybookError,
    KeyReused,
    NotFound,
    NotUnderstood,
    OutcomeUnknown,
    ProblemError,
    Refused,
    Rejected,
    Unavailable,
)

__all__ = [
    "Answer",
    "Answered",
    "AsyncClient",
    "Call",
    "Client",
    "DaybookError",
    "KeyReused",
    "Listing",
    "NotFound",
    "NotUnderstood",
    "OutcomeUnknown",
    "Patience",
    "ProblemError",
    "Refused",
    "Rejected",
    "Unavailable",
    "credit",
    "debit",
]
