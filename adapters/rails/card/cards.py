"""The card vault's placeholder: test cards by their tokens, which are all that the inner rooms see of a card.

None of the numbers is anybody's: they are the networks' and processors' published test numbers, and others within the
same ranges. What each does at the simulator is in the table. A real vault takes this module's place behind `Vault`.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from msgspec import Struct

from domain.rail import Card


class Vault(Protocol):
    """Where a token's card number is."""

    def number_of(self, token: str) -> str | None:
        """12 to 19 digits; None where the token is not known."""


class SampleCard(Struct, frozen=True):
    """`answer`: the code the simulated issuer gives to whatever the card pays for; `disputes`: the code with which that
    is disputed some days later, if it is."""

    token: str
    brand: str
    number: str
    answer: str = "00"
    disputes: str = ""


SAMPLE_CARDS: Final[tuple[SampleCard, ...]] = (
    SampleCard("tok_visa", "visa", "4242424242424242"),
    SampleCard("tok_visa_debit", "visa", "4000056655665556"),
    SampleCard("tok_visa_long", "visa", "4000000000000000006"),
    SampleCard("tok_mastercard", "mastercard", "5555555555554444"),
    SampleCard("tok_mastercard_2_series", "mastercard", "2223003122003222"),
    SampleCard("tok_mastercard_debit", "mastercard", "5200828282828210"),
    SampleCard("tok_amex", "amex", "378282246310005"),
    SampleCard("tok_discover", "discover", "6011111111111117"),
    SampleCard("tok_diners", "diners", "3056930009020004"),
    SampleCard("tok_jcb", "jcb", "3566002020360505"),
    SampleCard("tok_unionpay", "unionpay", "6200000000000005"),
    SampleCard("tok_chargeback", "visa", "4000000000000259", disputes="10.4"),
    SampleCard("tok_chargeback_not_received", "visa", "4000000000002685", disputes="13.1"),
    SampleCard("tok_chargeback_mastercard", "mastercard", "5555555555552240", disputes="4853"),
    SampleCard("tok_declined_do_not_honor", "visa", "4000000000000002", "05"),
    SampleCard("tok_declined_insufficient_funds", "visa", "4000000000009995", "51"),
    SampleCard("tok_declined_lost_card", "visa", "4000000000009987", "41"),
    SampleCard("tok_declined_stolen_card", "visa", "4000000000009979", "43"),
    SampleCard("tok_declined_expired_card", "visa", "4000000000000069", "54"),
    SampleCard("tok_declined_incorrect_cvc", "visa", "4000000000000127", "N7"),
    SampleCard("tok_declined_processing_error", "visa", "4000000000000119", "06"),
    SampleCard("tok_declined_suspected_fraud", "visa", "4100000000000019", "59"),
    SampleCard("tok_declined_limit_exceeded", "visa", "4000000000006975", "61"),
    SampleCard("tok_declined_invalid_card", "mastercard", "5105105105105100", "14"),
    SampleCard("tok_declined_not_permitted", "mastercard", "5454545454545454", "57"),
    SampleCard("tok_declined_issuer_unavailable", "mastercard", "5431111111111111", "91"),
    SampleCard("tok_declined_system_malfunction", "mastercard", "5111111111111118", "96"),
)

BY_TOKEN: Final[Mapping[str, SampleCard]] = {card.token: card for card in SAMPLE_CARDS}
BY_NUMBER: Final[Mapping[str, SampleCard]] = {card.number: card for card in SAMPLE_CARDS}


class Placeholder:
    """The vault that only has the test cards."""

    def number_of(self, token: str) -> str | None:
        """A test card's number."""
        card = BY_TOKEN.get(token)
        return None if card is None else card.number


def card_of(token: str, expires: str = "2030-12") -> Card:
    """A test card as the inner rooms know it."""
    card = BY_TOKEN[token]
    return Card(token=token, brand=card.brand, last4=card.number[-4:], expires=expires)


def luhn_holds(number: str) -> bool:
    """Whether the last digit is the check digit of those before it. Source: ISO/IEC 7812-1, annex B."""
    digits = [int(digit) for digit in reversed(number)]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
