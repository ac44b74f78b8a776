"""Routing numbers of the banks of the United States: eight digits and a check digit."""

from typing import Final

WEIGHTS: Final = (3, 7, 1, 3, 7, 1, 3, 7)
"""Source: American Bankers Association, routing number check digit, modulus 10."""


def check_digit(eight: str) -> int | None:
    """The ninth digit; nothing where these are not eight ASCII digits."""
    if len(eight) != len(WEIGHTS) or not (eight.isascii() and eight.isdigit()):
        return None
    return -sum(weight * int(digit) for weight, digit in zip(WEIGHTS, eight, strict=True)) % 10


def is_routing_number(nine: str) -> bool:
    return len(nine) == 9 and check_digit(nine[:8]) is not None and nine[8:] == str(check_digit(nine[:8]))
