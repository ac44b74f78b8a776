"""Accounts, banks and references: what is one, what is not, and how a text is said in the characters of a wire."""

import re
from uuid import UUID

import pytest

from adapters.rails.wire.identifiers import (
    creditor_reference,
    is_bic,
    is_creditor_reference,
    is_iban,
    references_in,
    swift_text,
    uetr,
)


@pytest.mark.parametrize(
    "iban",
    [
        # Source: IBAN registry, the examples of these countries.
        *("DE89370400440532013000", "GB29NWBK60161331926819", "NO9386011117947", "FR1420041010050500013M02606"),
        *("MT84MALT011000012345MTLCAST001S", "BE68539007547034", "SA0380000000608010167519", "AE070331234567890123456"),
    ],
)
def test_ibans(iban: str) -> None:
    """
    The registry's own examples are IBANs; with any digit or letter changed to the next they are not.
    """
    assert is_iban(iban)
    for place in range(2, len(iban)):
        following = "B" if iban[place] == "A" else "A" if iban[place].isalpha() else str((int(iban[place]) + 1) % 10)
        assert not is_iban(iban[:place] + following + iban[place + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "DE",
            "de89370400440532013000",
            "DE89 3704 0044 0532 0130 00",
            "DE8937040044053201300",
            "8937040044053201",
        ),
        # Check digits that fit, for a German account of 19 and of 24 characters.
        *(
            "DE41370400440532013",
            "DE9837040044053201300000",
            "DE89370400440532013000\n",
            "DE89370400440532013\N{FULLWIDTH DIGIT ZERO}00",
        ),
    ],
)
def test_what_is_no_iban(text: str) -> None:
    """
    Another length, spaces, small letters and other scripts' digits make none, nor do right check digits alone.
    """
    assert not is_iban(text)


def test_a_country_without_a_length_is_not_held_against_an_iban() -> None:
    """
    Countries join the registry; the check digits still speak.
    """
    assert is_iban("AO06004400006729503010102")
    assert not is_iban("AO07004400006729503010102")


def test_bics() -> None:
    """
    Eight or eleven characters: four, a country, two, and perhaps three of a branch.
    """
    assert all(map(is_bic, ("COBADEFF", "COBADEFFXXX", "BUKBGB22", "3M4XUS33")))
    assert not any(map(is_bic, ("", "COBADEF", "COBADEFFX", "COBADEFFXX", "cobadeff", "COBA0EFF", "COBADEFFXXX\n")))


def test_a_request_has_one_uetr_for_ever() -> None:
    """
    It has the shape of a random UUID and is always the same: these were given out, and must not change.
    """
    assert uetr("2HkDq7VyWx9pRt3sFz5aBc") == "3cafc60c-173c-4916-bfe4-8bb9f8079e51"
    assert uetr("2HkDq7VyWx9pRt3sFz5aBd") != uetr("2HkDq7VyWx9pRt3sFz5aBc")
    assert UUID(uetr("x")).version == 4
    assert re.fullmatch(r"[a-f0-9]{8}-[a-f0-9]{4}-4[a-f0-9]{3}-[89ab][a-f0-9]{3}-[a-f0-9]{12}", uetr("x"))


def test_creditor_references() -> None:
    """
    The example of ISO 11649 is one, with a digit changed it is none; ours are, and are always the same.
    """
    assert is_creditor_reference("RF18539007547034")
    assert not is_creditor_reference("RF19539007547034")
    assert creditor_reference("pay_1") == "RF46013068236065337355941"
    assert is_creditor_reference(creditor_reference("pay_2"))
    assert len(creditor_reference("pay_2")) == 25


@pytest.mark.parametrize(
    "text",
    [
        *("RF18539007547034", "for RF18 5390-0754 7034, thanks", "rf18 5390 0754 7034", "/ROC/RF18539007547034"),
        *("ref RF RF18.5390.0754.7034", "RF18539007547034Rechnung"),
    ],
)
def test_a_reference_is_found_wherever_a_payer_put_it(text: str) -> None:
    """
    In groups, in small letters, between other words or run together with one.
    """
    assert "RF18539007547034" in references_in(text)


@pytest.mark.parametrize("text", ["", "RF", "invoice 4711", "RF19539007547034", "RF1853900754703", "R F"])
def test_a_mistyped_reference_is_none(text: str) -> None:
    """
    The check digits keep a slip of a digit from paying somebody else's invoice.
    """
    assert references_in(text) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Zoë & Søn, Łódź", "Zoe + Son, Lodz"),
        (
            "Straße 5; T\N{LATIN SMALL LETTER U WITH DIAERESIS}rk\N{LATIN SMALL LETTER DOTLESS I}ye",
            "Strasse 5, Turkiye",
        ),
        ("  two\n\tlines ", "two lines"),
        ("//slashes///everywhere//", "slashes/everywhere"),
        ("a_b@c.de", "a-b(at)c.de"),
        ("日本", ".."),
        ("", ""),
        ("\x00\x1b\x1f", ".."),
        ("½ ﬁ", "1.2 fi"),
    ],
)
def test_a_text_is_said_in_the_characters_of_a_wire(text: str, said: str) -> None:
    """
    Accents go, look-alikes stand in, the rest is a full stop; white space and slashes keep to their rules.
    """
    assert swift_text(text, 140) == said


def test_a_text_is_cut_to_its_length_and_still_keeps_the_rules() -> None:
    """
    Letters that become two count as two, and a cut leaves neither a slash nor a space at the end.
    """
    assert swift_text("ß" * 100, 35) == "s" * 35
    assert swift_text("abc /d", 5) == "abc"
