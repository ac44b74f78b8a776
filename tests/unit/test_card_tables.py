"""The card rail's tables: test cards whose numbers could be real, and declines that say what may be done."""

import pytest

from adapters.rails.card.cards import BY_NUMBER, BY_TOKEN, SAMPLE_CARDS, Placeholder, SampleCard, card_of, luhn_holds
from adapters.rails.card.declines import ADVICE, APPROVALS, BY_CODE, DECLINES, UNDECIDED, declined
from domain.rail import Retry

RANGES = {
    "visa": ("4",),
    "mastercard": ("51", "52", "53", "54", "55", "2223"),
    "amex": ("34", "37"),
    "discover": ("6011",),
    "diners": ("305", "36"),
    "jcb": ("35",),
    "unionpay": ("62",),
}


@pytest.mark.parametrize("card", SAMPLE_CARDS, ids=lambda card: card.token)
def test_a_test_card_could_be_real(card: SampleCard) -> None:
    """
    Its check digit holds, its first digits are its brand's, and its answer is one of the table.
    """
    assert luhn_holds(card.number)
    assert card.number.startswith(RANGES[card.brand])
    assert 12 <= len(card.number) <= 19 and card.number.isdigit()
    assert card.answer in BY_CODE or card.answer == "00"


def test_the_check_digit_is_the_only_one_that_holds() -> None:
    """
    Any other last digit is wrong, and so are two digits that changed places. Source: ISO/IEC 7812-1, annex B.
    """
    number = "79927398713"

    assert [digit for digit in "0123456789" if luhn_holds(number[:-1] + digit)] == ["3"]
    assert not luhn_holds("79927398731")


def test_each_card_is_there_once() -> None:
    """
    A token names one number, and a number one card; the inner rooms see four digits of it.
    """
    assert len(BY_TOKEN) == len(BY_NUMBER) == len(SAMPLE_CARDS)
    assert Placeholder().number_of("tok_visa") == "4242424242424242"
    assert Placeholder().number_of("tok_none") is None
    assert "424242" not in repr(card_of("tok_visa"))


def test_each_code_means_one_thing() -> None:
    """
    No code is in the table twice, and none is both a no and something else.
    """
    assert len(BY_CODE) == len(DECLINES)
    assert not BY_CODE.keys() & (APPROVALS | UNDECIDED.keys())


@pytest.mark.parametrize(
    ("code", "reason", "retry"),
    [
        ("51", "insufficient_funds", Retry.LATER),
        ("05", "do_not_honor", Retry.LATER),
        ("41", "lost_card", Retry.NEVER),
        ("43", "stolen_card", Retry.NEVER),
        ("54", "expired_card", Retry.NEVER),
        ("59", "suspected_fraud", Retry.NEVER),
        ("61", "limit_exceeded", Retry.LATER),
        ("91", "issuer_unavailable", Retry.LATER),
        ("96", "system_malfunction", Retry.ELSEWHERE),
        ("ZZ", "declined", Retry.LATER),
    ],
)
def test_what_may_be_done_after_a_no(code: str, reason: str, retry: Retry) -> None:
    """
    The declines that a payment meets most, and one of no table.
    """
    assert (declined(code).reason, declined(code).retry) == (reason, retry)


def test_what_visa_never_approves_is_never_tried_again() -> None:
    """
    Category 1 of Visa's decline response code rules.
    """
    category_1 = ("04", "07", "12", "14", "15", "41", "43", "46", "57", "R0", "R1", "R3")

    assert {declined(code).retry for code in category_1} == {Retry.NEVER}


def test_advice_goes_before_the_table() -> None:
    """
    Mastercard's 03 and 21 end it whatever the code; 02 and 24 to 30 put it off; one of no table changes nothing.
    """
    assert {declined("51", code).retry for code in ("03", "21")} == {Retry.NEVER}
    assert {declined("41", code).retry for code in ("02", "24", "30")} == {Retry.LATER}
    assert declined("96", "99").retry is Retry.ELSEWHERE
    assert ADVICE.keys() == {"01", "02", "03", "04", "21", "24", "25", "26", "27", "28", "29", "30"}
