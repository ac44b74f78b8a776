"""The secret by which a payer is told from a stranger."""

from uuid import UUID

import pytest

from domain import ids
from domain.client_secret import ClientSecrets
from domain.errors import ClientSecretWrong

SECRETS = ClientSecrets(bytes(range(32)))
ONE, OTHER = UUID(int=1), UUID(int=2)
SHOWN = ids.show(ids.PAYMENT, ONE)


def test_it_is_the_payment_s_own() -> None:
    """
    The same whenever it is worked out, another for each payment and each key, and it says which payment it is of.
    """
    secret = SECRETS.of(ONE)

    assert secret == "pay_00000000000000000000000001_secret_oNGBt12vvIaLQDwjLJZtRc_oPcVMWYrW1nwb5rS8oTw"
    assert len({secret, SECRETS.of(OTHER), ClientSecrets(bytes(32)).of(ONE)}) == 3
    assert SECRETS.payment_opened(SHOWN, by=[secret]) == ONE


@pytest.mark.parametrize(
    ("payment", "by"),
    [
        (SHOWN, []),
        (SHOWN, [""]),
        (SHOWN, [SECRETS.of(OTHER)]),
        (SHOWN, [SECRETS.of(ONE)] * 2),
        (SHOWN, [SECRETS.of(ONE)[:-1]]),
        (SHOWN, [SECRETS.of(ONE) + "\xff"]),
        (SHOWN, [SECRETS.of(ONE).upper()]),
        (ids.show(ids.PAYMENT, OTHER), [SECRETS.of(ONE)]),
        (ids.show(ids.HOLD, ONE), [SECRETS.of(ONE)]),
        ("", [SECRETS.of(ONE)]),
    ],
)
def test_nothing_else_opens_it(payment: str, by: list[str]) -> None:
    """
    No other secret, none twice, none in part; and whatever is wrong, the answer is the same.
    """
    with pytest.raises(ClientSecretWrong) as caught:
        SECRETS.payment_opened(payment, by=by)

    assert not str(caught.value)
