"""The model of a book, where entries are also given as a recipe: a split, or an exchange between two currencies."""

from fractions import Fraction

from tests.model import OTHER, Fields, Model, available, falls, lowest, must


class ModelWithRecipes(Model):
    """Works recipes out in whole numbers and fractions; currencies have two digits each, so a rate is one of cents."""

    def post_entry(self, asked: Fields) -> None:
        super().post_entry({**asked, "postings": self._worked_out(asked)})
        self.met |= {"split", "exchange"} & asked.keys()

    def _worked_out(self, asked: Fields) -> list[Fields]:
        if "split" in asked:
            return self._split(asked["split"])
        return self._exchange(asked["exchange"]) if "exchange" in asked else list(asked["postings"])

    def _split(self, asked: Fields) -> list[Fields]:
        """The first of two destinations gets its share, rounded down; the other what is left of the whole."""
        amount, currency = asked["amount"], asked["currency"]
        for one in (*asked["sources"], *asked["destinations"]):
            must(self._account(one["account"])["currency"] == currency, "currency_mismatch")
        side, *others = {falls(self._account(one["account"])) for one in asked["sources"]}
        must(not others, "sources_differ")
        taken = self._taken(asked["sources"], amount)
        must(sum(taken) == amount, "sources_insufficient")
        first, rest = asked["destinations"]
        part = int(amount * Fraction(first["share"]))
        lines = [_line(one, side, give, currency) for one, give in zip(asked["sources"], taken, strict=True)]
        lines += [_line(first, OTHER[side], part, currency), _line(rest, OTHER[side], amount - part, currency)]
        return [line for line in lines if line["amount"]]

    def _taken(self, sources: list[Fields], amount: int) -> list[int]:
        """Of each what it may give, one after the other; one that is asked twice has less the second time."""
        taken: list[int] = []
        for number, one in enumerate(sources):
            account, left = self._account(one["account"]), amount - sum(taken)
            gave = sum(
                give for each, give in zip(sources[:number], taken, strict=True) if each["account"] == one["account"]
            )
            low = lowest(account)
            has = left if low is None else max(available(account) - low - gave, 0)
            taken.append(min(left, has, left if one["maximum"] is None else one["maximum"]))
        return taken

    def _exchange(self, asked: Fields) -> list[Fields]:
        """Rounded once, what is just between two cents to the even one; each currency is held against its position."""
        ends = [asked["source"], asked["destination"]]
        positions = [{"account": end["position_account"]} for end in ends]
        source, _, destination, _ = (
            self._account(one["account"]) for pair in zip(ends, positions, strict=True) for one in pair
        )
        must(source["currency"] != destination["currency"], "exchange_within_currency")
        received = round(asked["amount"] * Fraction(asked["rate"]))
        must(received > 0, "conversion_too_small")
        side = falls(source)
        return [
            _line(ends[0], side, asked["amount"], source["currency"]),
            _line(positions[0], OTHER[side], asked["amount"], source["currency"]),
            _line(positions[1], side, received, destination["currency"]),
            _line(ends[1], OTHER[side], received, destination["currency"]),
        ]


def _line(of: Fields, side: str, amount: int, currency: str) -> Fields:
    return {"account": of["account"], "side": side, "amount": amount, "currency": currency}
