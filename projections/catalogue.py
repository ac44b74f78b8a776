"""All the projections there are."""

from typing import Final

from projections import accounts, audit_trail, holds, journal, payments
from projections.projection import Projection

ALL: Final[tuple[Projection, ...]] = (accounts, journal, holds, payments, audit_trail)
