"""Every no has its status, its code and its title."""

from dataclasses import fields

import pytest

from adapters.web.errors import STATUS, exception_handlers
from domain import errors
from domain.errors import Refusal

OURS = {errors.HeadMoved, errors.ConflictInStore, errors.EventTooNew, errors.EventMalformed}
"""Faults of ours or of the store's content: 500, and a page to us."""


def refusals(cls: type[Refusal] = Refusal) -> set[type[Refusal]]:
    return {sub for direct in cls.__subclasses__() for sub in {direct} | refusals(direct)}


def test_every_refusal_has_a_status() -> None:
    """
    No refusal can be raised that HTTP has no status for.
    """
    assert set(STATUS) == refusals()


def test_every_other_no_is_answered() -> None:
    """
    What the desk and the store can say is answered, unless it is a fault of ours.
    """
    said = {
        cls
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, Exception) and not issubclass(cls, Refusal)
    }

    assert {cls for cls in said if cls not in exception_handlers} == OURS


@pytest.mark.parametrize("cls", sorted(STATUS, key=str))
def test_a_refusal_fits_into_a_problem(cls: type[Refusal]) -> None:
    """
    A refusal has a sentence for a title, and its fields do not hide the problem's own members.
    """
    assert (cls.__doc__ or "").splitlines()[0].endswith(".")
    assert not {f.name for f in fields(cls)} & {"type", "title", "status", "detail", "code", "transient", "request_id"}
    assert STATUS[cls] in (404, 409, 422)
    assert (STATUS[cls] == 404) == cls.code.endswith("_not_found")
