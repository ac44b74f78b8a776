"""The `eventsourcing` library's own example, as in its tutorial: two aggregates are read, changed, saved together."""

from decimal import Decimal
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event


class BankAccount(Aggregate):
    """An account by its number."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.balance = Decimal(0)

    @staticmethod
    def create_id(number: int) -> UUID:
        return uuid5(NAMESPACE_URL, f"/bank-accounts/{number}")

    @event("TransactionAppended")
    def append_transaction(self, amount: Decimal) -> None:
        self.balance += amount


class BankAccounts(Application[UUID]):
    """Accounts, and transfers between them. There is no idempotency key; who comes second to save must ask again."""

    def open_account(self, number: int, given: Decimal) -> None:
        account = BankAccount(number)
        account.append_transaction(given)
        self.save(account)

    def get_account(self, number: int) -> BankAccount:
        account: BankAccount = self.repository.get(BankAccount.create_id(number))
        return account

    def transfer(self, source: int, target: int, amount: Decimal) -> None:
        """ValueError if there is not enough on the source."""
        giving, taking = self.get_account(source), self.get_account(target)
        if giving.balance < amount:
            raise ValueError("insufficient funds")
        giving.append_transaction(-amount)
        taking.append_transaction(amount)
        self.save(giving, taking)
