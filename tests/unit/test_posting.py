"""Postings: what they add up to, and the rows the ledger keeps of them."""

from domain import ids
from domain.posting import ZERO, Side, Totals, posted, rows, sums
from tests.support import BOOK, TODAY, lines

ENTRY = """
    cash      | 30     |
    deposits  |        | 21
    fees      |        |  9
    nostro    | 5 USD  |
    position  |        | 5 USD
    cash      |        |  2
    cash      | 2      |
"""


def test_sums_are_kept_by_currency() -> None:
    """
    Debits and credits of one currency say nothing about another.
    """
    assert sums(lines(ENTRY)) == {"EUR": (32, 32), "USD": (5, 5)}


def test_rows_run_on_from_the_totals_before() -> None:
    """
    Each row has its account's next number and the totals after it, also when an account comes up more than once.
    """
    cash, deposits = ids.account_id(BOOK, "cash"), ids.account_id(BOOK, "deposits")
    totals = {posting.account_id: ZERO for posting in lines(ENTRY)} | {cash: Totals(7, 100, 50, 1, 2)}

    written = list(rows(posted(lines(ENTRY)), position=40, value_date=TODAY, totals=totals))

    assert [row.totals for row in written if row.account_id == cash] == [
        Totals(8, 130, 50, 1, 2),
        Totals(9, 130, 52, 1, 2),
        Totals(10, 132, 52, 1, 2),
    ]
    assert [row.totals for row in written if row.account_id == deposits] == [Totals(1, 0, 21, 0, 0)]
    assert [(row.side, row.amount) for row in written] == [(p.side, p.amount) for p in lines(ENTRY)]
    assert {(row.position, row.value_date, row.pending) for row in written} == {(40, TODAY, False)}
    assert totals[cash] == Totals(10, 132, 52, 1, 2)


def test_each_side_has_its_own_total() -> None:
    """
    Totals only grow: a balance that goes down is a credit that went up.
    """
    assert ZERO.after(Side.DEBIT, 3) == Totals(1, 3, 0, 0, 0)
    assert ZERO.after(Side.CREDIT, 3).after(Side.DEBIT, 1) == Totals(2, 1, 3, 0, 0)
    assert [side.other for side in (Side.DEBIT, Side.CREDIT)] == [Side.CREDIT, Side.DEBIT]
