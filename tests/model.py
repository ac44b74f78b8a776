"""What Daybook should answer, and what should then be in a book: plain dicts, and no code of Daybook's.

A command is its published name and its arguments as they go over HTTP. Times are the caller's business: an argument
that depends on one says what is so (`due`, `past`) beside the command.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

Fields = dict[str, Any]
Line = tuple[str, str, int]
"""Account code, side, amount."""

Item = tuple[str, Fields, dict[str, bool]]
"""A command, its arguments, and what is so."""

OTHER = {"debit": "credit", "credit": "debit"}

REFUSED = {
    **dict.fromkeys(["account_not_found", "entry_not_found", "hold_not_found"], 404),
    **dict.fromkeys(["account_code_taken", "account_frozen", "account_not_frozen", "account_closed"], 409),
    **dict.fromkeys(["account_not_empty", "entry_already_reversed", "entry_is_reversal", "condition_failed"], 409),
    **dict.fromkeys(["hold_ended", "hold_expired", "hold_not_due"], 409),
    **dict.fromkeys(["hold_expires_in_past", "hold_to_same_account", "capture_exceeds_hold", "batch_refused"], 422),
    **dict.fromkeys(["limits_contradict", "limits_in_past", "currency_mismatch", "entry_unbalanced"], 422),
    **dict.fromkeys(["insufficient_funds", "ceiling_exceeded", "sources_differ", "sources_insufficient"], 422),
    **dict.fromkeys(["exchange_within_currency", "conversion_too_small"], 422),
}
"""The status of each refusal, written down a second time."""

DONE = {
    **dict.fromkeys(["open_account", "post_entry", "reverse_entry", "place_hold", "capture_hold"], 201),
    **dict.fromkeys(["freeze_account", "unfreeze_account", "change_limits", "close_account"], 200),
    **dict.fromkeys(["increase_hold", "void_hold", "expire_hold", "post_batch"], 200),
}


class Refused(Exception):
    """With its code."""


class Model:
    """One book. Things are dicts; entries and holds get their ids from the answer that made them."""

    def __init__(self) -> None:
        self.accounts: dict[str, Fields] = {}
        self.entries: list[Fields] = []
        self.holds: list[Fields] = []
        self.refusals: list[tuple[str, str, str]] = []
        """Actor, command and code of those kept in the book's audit trail."""
        self.made: Fields = {}
        self.met: set[str] = set()
        """The commands that did something and the codes that were met, to see that nothing is left out."""

    def ask(self, command: str, arguments: Fields, actor: str = "", **so: bool) -> tuple[int, str]:
        """The status, and the code of a refusal. What a command made is `made`, to be given its id."""
        try:
            self.made = {}
            getattr(self, command)(arguments, **so)
        except Refused as no:
            code = str(no)
            self.met.add(code)
            if not code.endswith("_not_found") or command in ("post_entry", "place_hold"):
                self.refusals.append((actor, command, code))
            return REFUSED[code], code
        self.made["actor"] = actor
        self.met.add(command)
        return DONE[command], ""

    def ask_batch(self, mode: str, items: list[Item], actor: str) -> tuple[int, str, list[Any]]:
        """The answer to it, and to each of its commands with what it made; of an atomic one all or none is done."""
        before = deepcopy(self.__dict__)
        answers = []
        for command, arguments, so in items:
            status, code = self.ask(command, arguments, actor, **so)
            if code and mode == "atomic":
                self.__dict__ = before
                self.met.add("batch_refused")
                self.refusals.append((actor, "post_batch", "batch_refused"))
                return REFUSED["batch_refused"], "batch_refused", []
            answers.append((status, code, self.made))
        return DONE["post_batch"], "", answers

    # Accounts.

    def open_account(self, asked: Fields) -> None:
        must(asked["code"] not in self.accounts, "account_code_taken")
        _must_agree(asked)
        totals = dict.fromkeys(("debits", "credits", "pending_debits", "pending_credits", "number"), 0)
        self.accounts[asked["code"]] = {**asked, **totals, "status": "open", "version": 1}

    def change_limits(self, asked: Fields, *, past: bool = False, to_come: bool = False) -> None:
        account = self._account(asked["account_id"])
        must(account["status"] != "closed", "account_closed")
        must(not past, "limits_in_past")
        _must_agree(asked)
        account["version"] += 1
        if not to_come:
            account.update({name: asked[name] for name in ("overdraft_limit", "floor", "ceiling")})

    def freeze_account(self, asked: Fields) -> None:
        account = self._account(asked["account_id"])
        _must_be_open(account)
        account.update(status="frozen", version=account["version"] + 1)

    def unfreeze_account(self, asked: Fields) -> None:
        account = self._account(asked["account_id"])
        must(account["status"] != "closed", "account_closed")
        must(account["status"] != "open", "account_not_frozen")
        account.update(status="open", version=account["version"] + 1)

    def close_account(self, asked: Fields) -> None:
        account = self._account(asked["account_id"])
        must(account["status"] != "closed", "account_closed")
        must(balance(account) == account["pending_debits"] == account["pending_credits"] == 0, "account_not_empty")
        account.update(status="closed", version=account["version"] + 1)

    # Entries.

    def post_entry(self, asked: Fields) -> None:
        postings, sums = asked["postings"], dict[str, int]()
        for one in postings:
            signed = one["amount"] if one["side"] == "debit" else -one["amount"]
            sums[one["currency"]] = sums.get(one["currency"], 0) + signed
        must(not any(sums.values()), "entry_unbalanced")
        for one in postings:
            account = self._account(one["account"])
            must(account["currency"] == one["currency"], "currency_mismatch")
            _must_be_open(account)
        for one in postings:
            account = self._account(one["account"])
            must(one.get("if_version") in (None, account["number"]), "condition_failed")
            least = one.get("if_available_at_least")
            must(least is None or available(account) >= least, "condition_failed")
        self._enter([(one["account"], one["side"], one["amount"]) for one in postings], asked, "plain")

    def reverse_entry(self, asked: Fields) -> None:
        entry = self._entry(asked["entry_id"])
        must(entry["kind"] != "reversal", "entry_is_reversal")
        must(not entry["reversed"], "entry_already_reversed")
        self._enter([(code, OTHER[side], amount) for code, side, amount in entry["lines"]], {}, "reversal")
        entry["reversed"] = True

    def _enter(self, lines: list[Line], asked: Fields, kind: str, released: Iterable[Line] = ()) -> None:
        self._move(lines, released)
        self.made = {"lines": lines, "reference": asked.get("reference", ""), "kind": kind, "reversed": False}
        self.entries.append(self.made)

    # Holds.

    def place_hold(self, asked: Fields, *, past: bool = False) -> None:
        must(asked["account"] != asked["destination"], "hold_to_same_account")
        must(not past, "hold_expires_in_past")
        for name in ("account", "destination"):
            must(self._account(asked[name])["currency"] == asked["currency"], "currency_mismatch")
        hold = {**asked, "status": "held", "amount": 0, "captured": 0, "remaining": 0}
        self._set_aside(hold, asked["amount"])
        self.holds.append(hold)
        self.made = hold

    def increase_hold(self, asked: Fields, *, due: bool = False) -> None:
        self._set_aside(self._held(asked, due), asked["amount"])

    def capture_hold(self, asked: Fields, *, due: bool = False) -> None:
        hold = self._held(asked, due)
        taken = asked.get("amount") or hold["remaining"]
        must(taken <= hold["remaining"], "capture_exceeds_hold")
        final = asked.get("final", False) or taken == hold["remaining"]
        given_up = hold["remaining"] if final else taken
        self._enter(self._lines(hold, taken), hold, "capture", self._lines(hold, -given_up))
        hold["captured"] += taken
        hold["remaining"] -= given_up
        hold["status"] = "captured" if final else "held"

    def void_hold(self, asked: Fields, *, due: bool = False) -> None:
        self._give_up(self._held(asked, due), "voided")

    def expire_hold(self, asked: Fields, *, due: bool = False) -> None:
        hold = self._hold(asked)
        must(hold["status"] == "held", "hold_ended")
        must(due, "hold_not_due")
        self._give_up(hold, "expired")

    def _set_aside(self, hold: Fields, amount: int) -> None:
        self._move([], self._lines(hold, amount))
        hold["amount"] += amount
        hold["remaining"] += amount

    def _give_up(self, hold: Fields, status: str) -> None:
        """It obeys no limit and no freeze: what is set aside can always be given back."""
        for code, side, amount in self._lines(hold, -hold["remaining"]):
            _add(self.accounts[code], f"pending_{side}s", amount)
        hold.update(status=status, remaining=0)

    def _lines(self, hold: Fields, amount: int) -> list[Line]:
        side = falls(self.accounts[hold["account"]])
        return [(hold["account"], side, amount), (hold["destination"], OTHER[side], amount)]

    # What they share.

    def _move(self, lines: Iterable[Line], pending: Iterable[Line]) -> None:
        """Post the one and set aside the other, if every account's state and limits allow what comes of both."""
        moves = [(code, f"pending_{side}s", n) for code, side, n in pending]
        moves += [(code, f"{side}s", n) for code, side, n in lines]
        after = {code: dict(self.accounts[code]) for code, _, _ in moves}
        for code, total, amount in moves:
            _must_be_open(self.accounts[code])
            _add(after[code], total, amount)
        for code, then in after.items():
            now, low = self.accounts[code], lowest(then)
            must(low is None or available(then) >= min(low, available(now)), "insufficient_funds")
            must(then["ceiling"] is None or highest(then) <= max(then["ceiling"], highest(now)), "ceiling_exceeded")
        self.accounts.update(after)

    def _account(self, code: str) -> Fields:
        must(code in self.accounts, "account_not_found")
        return self.accounts[code]

    def _entry(self, id: str) -> Fields:
        return _one(self.entries, id, "entry_not_found")

    def _hold(self, asked: Fields) -> Fields:
        return _one(self.holds, asked["hold_id"], "hold_not_found")

    def _held(self, asked: Fields, due: bool) -> Fields:
        hold = self._hold(asked)
        must(hold["status"] == "held", "hold_ended")
        must(not due, "hold_expired")
        return hold


def must(holds: bool, code: str) -> None:
    if not holds:
        raise Refused(code)


def _one(things: list[Fields], id: str, code: str) -> Fields:
    found = [thing for thing in things if thing.get("id") == id]
    must(bool(found), code)
    return found[0]


def _must_be_open(account: Fields) -> None:
    must(account["status"] == "open", f"account_{account['status']}")


def _must_agree(limits: Fields) -> None:
    low, ceiling = lowest(limits), limits["ceiling"]
    must(low is None or ceiling is None or low <= ceiling, "limits_contradict")


def _add(account: Fields, total: str, amount: int) -> None:
    account[total] += amount
    account["number"] += 1


def lowest(limits: Fields) -> int | None:
    overdraft, floor = limits["overdraft_limit"], limits["floor"]
    return max((n for n in (floor, None if overdraft is None else -overdraft) if n is not None), default=None)


def falls(account: Fields) -> str:
    """The side on which the account gets less."""
    return "credit" if account["type"] in ("asset", "expense") else "debit"


def balance(account: Fields) -> int:
    side = falls(account)
    return int(account[f"{OTHER[side]}s"] - account[f"{side}s"])


def available(account: Fields) -> int:
    return balance(account) - int(account[f"pending_{falls(account)}s"])


def highest(account: Fields) -> int:
    return balance(account) + int(account[f"pending_{OTHER[falls(account)]}s"])


def chosen(things: Iterable[Fields], matches: Callable[[Fields], bool]) -> list[str]:
    """The ids of those that match, newest first."""
    return [thing["id"] for thing in things if matches(thing)][::-1]
