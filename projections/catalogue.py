"""All the projections there are."""

from typing import Final

from projections import accounts, audit_trail, escrows, holds, journal, payments, settlements
from projections.projection import Projection

ALL: Final[tuple[Projection, ...]] = (accounts, journal, holds, payments, settlements, escrows, audit_trail)
