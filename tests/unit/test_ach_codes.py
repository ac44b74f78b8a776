"""What comes back after an entry was taken: return codes and change codes."""

from adapters.rails.ach.codes import CHANGES, RETURNS, SIXTY_DAYS, TWO_DAYS, Kind, corrected
from domain.rail import Declined, Retry


def test_only_an_empty_account_is_tried_again() -> None:
    """
    Whatever else a bank says of an account, saying it again changes nothing.
    """
    assert {code for code, each in RETURNS.items() if each.retry is Retry.LATER} == {"R01", "R09"}
    assert all(each.retry is Retry.NEVER for code, each in RETURNS.items() if code not in ("R01", "R09"))


def test_who_did_not_authorize_it_has_sixty_days() -> None:
    """
    Consumers have sixty calendar days, banks two of theirs; where banks agree, there is no limit.
    """
    sixty = {code for code, each in RETURNS.items() if each.days == SIXTY_DAYS}
    assert sixty == {"R05", "R07", "R10", "R11", "R33", "R37", "R38", "R51", "R52", "R53"}
    assert {code for code, each in RETURNS.items() if each.days is None} == {"R06", "R31"}
    others = [each for code, each in RETURNS.items() if code not in sixty | {"R06", "R31"}]
    assert {each.days for each in others if each.kind is Kind.RETURN} == {TWO_DAYS}


def test_accounts_that_must_not_be_debited_again() -> None:
    """
    Closed, unknown, frozen, the holder dead, or unwilling. An empty account, or one entry stopped, may be.
    """
    blocked = {code for code, each in RETURNS.items() if each.block}

    assert {"R02", "R03", "R04", "R05", "R07", "R10", "R14", "R15", "R16", "R29"} <= blocked
    assert not blocked & {"R01", "R08", "R09", "R11", "R23", "R24"}


def test_a_return_as_an_answer() -> None:
    assert RETURNS["R02"].declined() == Declined(
        code="R02", reason="account_closed", message="Account closed", retry=Retry.NEVER
    )


def test_returns_of_returns_say_nothing_of_an_account() -> None:
    """
    R61 to R70 dishonor a return, R71 to R77 contest that.
    """
    assert {code for code, each in RETURNS.items() if each.kind is Kind.DISHONOR} == {
        "R61", "R62", "R67", "R68", "R69", "R70",
    }  # fmt: skip
    assert {code for code, each in RETURNS.items() if each.kind is Kind.CONTEST} == {f"R7{n}" for n in range(1, 8)}
    assert not any(each.block for each in RETURNS.values() if each.kind is not Kind.RETURN)


def test_what_is_to_be_changed() -> None:
    """
    Fields by their places within the 29 characters of the corrected data.
    """
    assert corrected("C01", "987654321") == {"account_number": "987654321"}
    assert corrected("C02", "231380104") == {"routing_number": "231380104"}
    assert corrected("C03", "231380104   987654321") == {
        "routing_number": "231380104",
        "account_number": "987654321",
    }
    assert corrected("C05", "37") == {"transaction_code": "37"}
    assert corrected("C06", "987654321           37") == {"account_number": "987654321", "transaction_code": "37"}
    assert corrected("C07", "231380104987654321        37") == {
        "routing_number": "231380104",
        "account_number": "987654321",
        "transaction_code": "37",
    }
    assert corrected("C13", "anything") == {}
    assert corrected("C99", "anything") == {}
    assert all(last <= 29 for change in CHANGES.values() for _, last in change.fields.values())
