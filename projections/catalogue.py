"""All the projections there are."""

from typing import Final

from projections import accounts, audit_trail, journal
from projections.projection import Projection

ALL: Final[tuple[Projection, ...]] = (accounts, journal, audit_trail)
