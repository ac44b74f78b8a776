"""The picture of a payment's life shows the domain's table: all of it, and nothing else."""

from collections import Counter
from xml.etree import ElementTree

import pytest

from adapters.openapi import diagram
from domain.payment import ENDED, TRANSITIONS, Status

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def picture() -> ElementTree.Element:
    return ElementTree.fromstring(diagram.svg())


def test_every_status_is_in_it(picture: ElementTree.Element) -> None:
    """
    Each status has one box with its name, and those that end a payment look it.
    """
    boxes = [group for group in picture.iter(f"{SVG}g") if group.get("id")]

    assert sorted(str(box.get("id")) for box in boxes) == sorted(Status)
    assert {"".join(box.itertext()).replace(" ", "_") for box in boxes} == {*Status}
    assert {box.get("id") for box in boxes if box.get("class") == "ended"} == {*ENDED}


def test_every_transition_is_in_it(picture: ElementTree.Element) -> None:
    """
    An arrow goes from each status to each that follows it, and every trigger of the table is said beside one.
    """
    arrows = [(path.get("data-from"), path.get("data-to")) for path in picture.iter(f"{SVG}path")]
    said = Counter(part.text for part in picture.iter(f"{SVG}tspan"))

    assert sorted(arrows) == sorted({(before, after) for (before, _), after in TRANSITIONS.items()})
    assert said == Counter(trigger.value for _, trigger in TRANSITIONS)


def test_boxes_have_places_of_their_own(picture: ElementTree.Element) -> None:
    """
    No box lies upon another, and everything is within the picture.
    """
    _, _, width, height = map(float, str(picture.get("viewBox")).split())
    corners = [(float(str(box.get("x"))), float(str(box.get("y")))) for box in picture.iter(f"{SVG}rect")]

    assert len({*corners}) == len(Status)
    assert all(0 < x < width and 0 < y < height for x, y in corners)


def test_a_status_without_a_place_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A status that is new in the table is not left out of the picture.
    """
    monkeypatch.setattr(diagram, "PLACES", {s: place for s, place in diagram.PLACES.items() if s is not Status.EXPIRED})

    with pytest.raises(AssertionError):
        diagram.svg()
