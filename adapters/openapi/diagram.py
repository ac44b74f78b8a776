"""The life of a payment as a picture: every status and transition of the domain's table, drawn as SVG.

Where a status stands is written here by hand, and what is drawn comes from the table: a status without a place, or a
place without a status, is a mistake.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final
from xml.sax.saxutils import escape

from domain.payment import ENDED, TRANSITIONS, Status, Trigger

_S = Status

PLACES: Final[Mapping[Status, tuple[int, int]]] = {
    _S.REQUIRES_PAYMENT_METHOD: (1, 0),
    _S.REQUIRES_CONFIRMATION: (1, 1),
    _S.REQUIRES_APPROVAL: (2, 2),
    _S.PROCESSING: (1, 3),
    _S.REQUIRES_ACTION: (0, 4),
    _S.REQUIRES_CAPTURE: (1, 5),
    _S.SUCCEEDED: (1, 6),
    _S.PARTIALLY_CAPTURED: (2, 6),
    _S.CANCELED: (3, 6),
    _S.EXPIRED: (4, 6),
}
"""Column and row. A payment goes downwards, and what ends it stands in the last row."""

_WIDE, _HIGH = 190, 44
_COLUMN, _ROW = 300, 140
_LEFT, _TOP = 190, 50
_LINE: Final = 15
"""Between the lines of a label."""

_STYLE: Final = """
text { font: 13px system-ui, sans-serif; fill: #1f2937; text-anchor: middle; }
.label { font-size: 11px; fill: #374151; paint-order: stroke; stroke: #ffffff; stroke-width: 4px; }
.loop { text-anchor: end; }
rect { fill: #eff6ff; stroke: #2563eb; stroke-width: 1.5; }
.ended rect { fill: #f0fdf4; stroke: #15803d; stroke-width: 3; }
path { fill: none; stroke: #6b7280; stroke-width: 1.3; marker-end: url(#head); }
"""

Point = tuple[float, float]


def svg() -> str:
    """The picture."""
    assert PLACES.keys() == {*Status}, PLACES.keys() ^ {*Status}
    triggers: defaultdict[tuple[Status, Status], list[Trigger]] = defaultdict(list)
    for (before, trigger), after in TRANSITIONS.items():
        triggers[before, after].append(trigger)
    width = _LEFT * 2 + max(column for column, _ in PLACES.values()) * _COLUMN
    height = _TOP * 2 + max(row for _, row in PLACES.values()) * _ROW
    arrows = [_arrow(before, after) for before, after in triggers]
    labels = [_label(pair, said) for pair, said in triggers.items()]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            "<title>The life of a payment</title>",
            f"<style>{_STYLE}</style>",
            '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
            'orient="auto-start-reverse"><polygon points="0,0 10,5 0,10" fill="#6b7280"/></marker></defs>',
            f'<polygon points="0,0 {width},0 {width},{height} 0,{height}" fill="#ffffff"/>',
            *arrows,
            *map(_box, PLACES),
            *labels,
            "</svg>\n",
        ]
    )


def _middle(status: Status) -> Point:
    column, row = PLACES[status]
    return _LEFT + column * _COLUMN, _TOP + row * _ROW


def _box(status: Status) -> str:
    x, y = _middle(status)
    kind = ' class="ended"' if status in ENDED else ""
    return (
        f'<g{kind} id="{status.value}"><rect x="{x - _WIDE / 2:g}" y="{y - _HIGH / 2:g}" width="{_WIDE}" '
        f'height="{_HIGH}" rx="9"/><text x="{x:g}" y="{y + 4:g}">{status.value.replace("_", " ")}</text></g>'
    )


def _arrow(before: Status, after: Status) -> str:
    points = list(_course(before, after))
    (x, y), *rest = points
    if len(rest) == 1:
        way = f"M{x:g},{y:g} L{rest[0][0]:g},{rest[0][1]:g}"
    else:
        way = f"M{x:g},{y:g} C" + " ".join(f"{px:g},{py:g}" for px, py in rest)
    return f'<path data-from="{before.value}" data-to="{after.value}" d="{way}"/>'


def _course(before: Status, after: Status) -> Iterator[Point]:
    """From edge to edge: one straight piece, or a curve with its two control points."""
    (x, y), (to_x, to_y) = _middle(before), _middle(after)
    down = _HIGH / 2
    if before is after:
        edge = x - _WIDE / 2
        yield from [(edge, y - 8), (edge - 40, y - 30), (edge - 40, y + 30), (edge, y + 8)]
    elif to_y < y and x == to_x:  # Back to where a new attempt can start, around what lies between.
        edge = x - _WIDE / 2
        yield from [(edge, y - 15), (edge - 190, y - 60), (edge - 190, to_y + 60), (edge, to_y + 8)]
    elif to_y < y:
        edge = to_x - _WIDE / 2
        out, lands = (x + 30, to_y + 16) if PLACES[before][1] - PLACES[after][1] == 1 else (x - 60, to_y - 8)
        yield from [(out, y - down), (out, lands + 60), (out, lands), (edge, lands)]
    elif PLACES[after][0] > 2:
        yield from _sideways(before, after)
    elif x == to_x and PLACES[after][1] - PLACES[before][1] > 2:
        bend = x + _WIDE / 2 + 60
        yield from [(x + 60, y + down), (bend, y + 130), (bend, to_y - 130), (x + 60, to_y - down)]
    else:
        yield from [(x + _toward(x, to_x), y + down), (to_x - _toward(x, to_x), to_y - down)]


def _sideways(before: Status, after: Status) -> Iterator[Point]:
    """Out at the right and down to what ended it, each on a way of its own."""
    (x, y), (to_x, to_y) = _middle(before), _middle(after)
    row, expired = PLACES[before][1], after is Status.EXPIRED
    landing = to_x + (70 - row * 24 if expired else 80 - row * 20)
    edge_y = y - 8 if expired else y + 8
    yield from [
        (x + _WIDE / 2, edge_y),
        (landing - 10, edge_y + 10),
        (landing, (y + to_y) / 2),
        (landing, to_y - _HIGH / 2),
    ]


def _toward(x: float, to_x: float) -> float:
    return 0 if x == to_x else 40 if to_x > x else -40


def _label(pair: tuple[Status, Status], said: list[Trigger]) -> str:
    points = list(_course(*pair))
    looped = pair[0] is pair[1]
    straight_down = len(points) == 2 and points[0][0] == points[1][0]
    x, y = _at(points, 0.5 if looped or straight_down else 0.32 if len(points) == 2 else 0.28)
    lines = [
        f'<tspan x="{x:g}" dy="{_LINE if n else 0}">{escape(trigger.value)}</tspan>' for n, trigger in enumerate(said)
    ]
    top = y - _LINE * (len(said) - 1) / 2 + 4
    kind = "label loop" if looped else "label"
    return f'<text class="{kind}" x="{x:g}" y="{top:g}">{"".join(lines)}</text>'


def _at(points: list[Point], part: float) -> Point:
    """So far along a line or a cubic Bezier curve."""
    weights = [1 - part, part] if len(points) == 2 else _bernstein(part)
    return (
        round(sum(weight * x for weight, (x, _) in zip(weights, points, strict=True)), 1),
        round(sum(weight * y for weight, (_, y) in zip(weights, points, strict=True)), 1),
    )


def _bernstein(part: float) -> list[float]:
    rest = 1 - part
    return [rest**3, 3 * rest**2 * part, 3 * rest * part**2, part**3]
