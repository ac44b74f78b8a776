"""The secret by which a payer may look at one payment and pay it, and do nothing else.

It is worked out from the payment's id and a key, and kept nowhere.
"""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest, digest
from typing import Final
from uuid import UUID

from domain import ids
from domain.errors import ClientSecretWrong

HEADER: Final = "Daybook-Client-Secret"


class ClientSecrets:
    """Of all payments. `key`: random bytes, which nobody else may know."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, payment_id: UUID) -> str:
        """The payment's: its id, and what only somebody with the key can say of it."""
        shown = ids.show(ids.PAYMENT, payment_id)
        mac = urlsafe_b64encode(digest(self._key, shown.encode(), sha256)).rstrip(b"=")
        return f"{shown}_secret_{mac.decode()}"

    def payment_opened(self, payment: str, *, by: Sequence[str]) -> UUID:
        """The payment that is so shown, whether or not there is one, for whoever has said its secret, once.

        Raises:
            ClientSecretWrong: That is not its secret, or no id at all.
        """
        try:
            payment_id = ids.parse(ids.PAYMENT, payment)
        except ValueError as error:
            raise ClientSecretWrong from error
        if len(by) != 1 or not compare_digest(self.of(payment_id).encode(), by[0].encode()):
            raise ClientSecretWrong
        return payment_id
