"""Sample messages of banks and of other projects: each is read, and what another reader made of some is what we make.

The samples are not part of this repository; where they are not beside the checkout, this is skipped and says so.
"""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from adapters.rails.wire.messages import CreditTransfer, Statement, Status
from adapters.rails.wire.reading import read
from domain.money import Money
from tests.wires import NO_SHARED, SHARED

SAMPLES = SHARED / "samples"

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason=NO_SHARED)

MESSAGES = sorted(path for path in SAMPLES.rglob("*") if path.is_file() and path.suffix != ".json")
PARSED = sorted(path for path in SAMPLES.rglob("camt*.json") if path.with_suffix(".xml").is_file())

KNOWN = {
    **{"BkToCstmrAcctRpt": "camt.052", "BkToCstmrStmt": "camt.053", "BkToCstmrDbtCdtNtfctn": "camt.054"},
    **{"FIToFIPmtStsRpt": "pacs.002", "FIToFICstmrCdtTrf": "pacs.008", "PmtRtr": "pacs.004"},
    **{"FIToFIPmtCxlReq": "camt.056", "RsltnOfInvstgtn": "camt.029", "FIToFIPmtStsReq": "pacs.028"},
}

# What is in the files that are no message of ours, in the order of their names, as a person reads them.
NOT_KNOWN = {
    "valid_namespace.xml": {"camt.052.001.02", "camt.053.001.02"},  # A document with nothing in it.
    "invalid_namespace.xml": {"camt.053.001.03"},
    "gistfile1.xml": {"pain.001.001.03"},
    "invalid_file2": {""},  # Its first tag never ends.
    "invalid_pain_v11.xml": {"CstmrPmtStsRpt"},
    "musterfile_pain.001_Nov2020.xml": {"CstmrCdtTrfInitn"},
    "pain002-chdd-cor1_p_ch2909000000250094239_1110097483_0_2018031317221082.xml": {"CstmrPmtStsRpt"},
    "pain002-epo_p_0_0_0_2018031510491259.xml": {"CstmrPmtStsRpt"},
    "pain002-epo_p_0_0_0_2018032614401842.xml": {"CstmrPmtStsRpt"},
    "pain002-epo_p_ch5109000000250092291_1110097605_0_2018031511252307.xml": {"CstmrPmtStsRpt"},
    "pain008-musterfile.xml": {"CstmrDrctDbtInitn"},
    "sepa_payment_naujas_1.xml": {"pain.001.001.03"},
    "valid_pain_v11.xml": {"pain.002.001.11"},
    "valid_remt_v04.xml": {"remt.001.001.04"},
    "remt_001_001_06.xml": {"remt.001.001.06"},
    "ABC_CANO.CA.ID.111111111-SplmtryData_CDATA.xml": {"seev.031.002.09"},
    "ABC_CANO.CA.ID.111111111-SplmtryData_empty.xml": {"seev.031.002.09"},
    "ABC_CANO.CA.ID.111111111-SplmtryData_simple.xml": {"seev.031.002.09"},
    "seev.031.002.09.xml": {"seev.031.002.09"},
    "app_to_mqsq.xml": {"getaccount"},
    "mx_sample_payload.xml": {"GetAcct"},
}


def sample(name: str) -> Any:
    """The one transaction or account in a sample."""
    (content,) = read(next(SAMPLES.rglob(name)).read_bytes()).contents
    return content


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_sample_is_read(path: Path) -> None:
    """
    A message of a known kind is understood whole, with nothing found wrong; any other is called what it is.
    """
    content = path.read_bytes()
    found = read(content)

    if path.name in NOT_KNOWN:
        assert found.name in NOT_KNOWN[path.name]
        assert (found.kind, found.contents, found.understood) == ("", (), False)
        assert len(found.findings) == 1
    else:
        assert found.kind == next(kind for name, kind in KNOWN.items() if f"{name}".encode() in content)
        assert found.understood
        assert found.findings == ()


def test_none_of_them_is_forgotten() -> None:
    """
    There are samples, and those that others have parsed are among them.
    """
    assert len(MESSAGES) == 57
    assert len(PARSED) == 6


@pytest.mark.parametrize("path", PARSED, ids=lambda path: path.stem)
def test_what_another_reader_made_of_it(path: Path) -> None:
    """
    The same balances and entries, amounts, dates, sides and references, to the cent.
    """
    theirs = json.loads(path.read_text("utf-8"))
    ours = [each for each in read(path.with_suffix(".xml").read_bytes()).contents if isinstance(each, Statement)]

    records = {each["getId"]: each for each in objects(theirs) if "Camt05" in each["__CLASS__"] and "getId" in each}
    assert {each.statement_id for each in ours} == records.keys()
    assert {each.account for each in ours} == {each["getAccount"]["getIdentification"] for each in records.values()}
    assert sorted(
        (balance.minor, balance.currency, balance.day) for each in ours for balance in each.balances
    ) == sorted(their_balances(records))
    assert [our_entry(entry) for each in ours for entry in each.entries] == [
        their_entry(each) for each in theirs["getEntries"]
    ]


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object within, itself first."""
    if isinstance(value, dict):
        if "__CLASS__" in value:
            yield value
        for inner in value.values():
            yield from objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner)


def their_balances(records: dict[str, dict[str, Any]]) -> Iterator[tuple[int, str, date | None]]:
    """Amounts with a sign, as they keep them."""
    for record in records.values():
        for balance in record["getBalances"]:
            yield (*their_amount(balance["getAmount"]), their_day(balance["getDate"]))


def their_amount(money: dict[str, Any]) -> tuple[int, str]:
    return int(money["getAmount"]), money["getCurrency"]["getCode"]


def their_day(moment: dict[str, str] | None) -> date | None:
    return None if moment is None else date.fromisoformat(moment["0"][:10])


def their_entry(entry: dict[str, Any]) -> tuple[Any, ...]:
    return (
        *their_amount(entry["getAmount"]),
        entry["getCreditDebitIndicator"],
        entry["getReversalIndicator"],
        entry["getStatus"],
        their_day(entry["getBookingDate"]),
        their_day(entry["getValueDate"]),
        entry["getAccountServicerReference"] or "",
        entry["getReference"] or "",
    )


def our_entry(entry: Any) -> tuple[Any, ...]:
    return (
        entry.amount.minor if entry.credit else -entry.amount.minor,
        entry.amount.currency,
        "CRDT" if entry.credit else "DBIT",
        entry.reversal,
        entry.status,
        entry.booked_on,
        entry.valued_on,
        entry.reference,
        entry.entry_id,
    )


def test_a_status_of_a_real_network() -> None:
    """
    A rejection with a code of the network's own and, as text in pieces, the message that it rejects.
    """
    status = sample("pacs.002-CDATA-with-header.xml")

    assert isinstance(status, Status)
    assert (status.status, status.original.message_id) == ("RJCT", "UNKNOWN")
    assert status.reasons[0].code == "118"
    assert "PA A20091531272" in status.reasons[0].text or "PA20091531272" in status.reasons[0].text.replace(" ", "")


def test_a_payment_with_everything_in_it() -> None:
    """
    A pacs.008 of the seventh version in an envelope.
    """
    transfer = sample("pacs.008.001.07.xml")

    assert isinstance(transfer, CreditTransfer)
    assert transfer.amount is not None and transfer.amount.currency == "USD"
    assert (transfer.header.instructing, transfer.header.instructed) == ("CITTGB2LPBG", "ICBCUS4CXXX")
    assert transfer.ids.end_to_end_id


def test_returns_in_a_bank_s_advice() -> None:
    """
    A bank of Switzerland tells which payment came back, and why.
    """
    advice = sample("200519_camt054-returns_p_ch2909000000250094239_1109800798_0_2019052023472022.xml")
    ((detail,),) = (entry.details for entry in advice.entries)

    assert detail.amount == Money(40000, "CHF")
    assert (detail.ids.end_to_end_id, detail.return_reason) == ("EndToEndId-004-01-01", "AC01")
    assert detail.debtor.account == "CH8709000000929471495"


def test_a_day_of_a_real_account_adds_up() -> None:
    """
    In a bank's own example, the opening balance and the entries come to the closing balance.
    """
    statement = sample("FI_camt_053_sample.xml.xml")
    opening, closing = (
        next(balance.minor for balance in statement.balances if balance.code == code) for code in ("OPBD", "CLBD")
    )
    moved = [entry.amount.minor if entry.credit else -entry.amount.minor for entry in statement.entries]

    assert len(moved) == 10
    assert opening + sum(moved) == closing
