"""A rule, whatever it is, and votes, whatever they are: what must hold of its answer."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from commands.policy import SetPaymentPolicy
from domain.policy import CONDITIONS, VALIDATORS, Rule
from domain.validation import Verdict, Vote, evaluate, unheard

VERDICTS = st.sampled_from(list(Verdict))
validators = st.lists(st.sampled_from(VALIDATORS), unique=True, max_size=3)
weights = st.dictionaries(st.sampled_from(VALIDATORS), st.integers(0, 9), min_size=1)


def _weighted(given: dict[str, int]) -> st.SearchStrategy[dict[str, Any]]:
    total = sum(given.values())
    if not total:
        return st.nothing()
    return st.fixed_dictionaries(
        {"mode": st.just("weighted"), "weights": st.just(given), "threshold": st.integers(1, total)}
    )


asked_for = st.one_of(
    st.just({"mode": "all"}),
    st.fixed_dictionaries({"mode": st.just("at_least"), "count": st.integers(1, len(VALIDATORS))}),
    weights.flatmap(_weighted),
)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """Any that can be asked for."""
    said = {**draw(asked_for), "required": draw(validators)}
    return SetPaymentPolicy.model_validate({"book": "main", "rule": said}).rule.rule()


votes = st.fixed_dictionaries({name: VERDICTS for name in VALIDATORS}).map(
    lambda verdicts: [Vote(validator=name, verdict=said, reason="why") for name, said in verdicts.items()]
)


@given(rules(), votes, st.sampled_from(VALIDATORS))
def test_a_no_never_helps(rule: Rule, cast: list[Vote], name: str) -> None:
    """
    Whoever allows and then denies, or is not heard, or has no vote at all, makes no rule pass that did not.
    """
    passed = evaluate(rule, cast).passed

    for verdict in (Verdict.DENY, Verdict.ABSTAIN):
        worse = [replace(vote, verdict=verdict) if vote.validator == name else vote for vote in cast]
        assert evaluate(rule, worse).passed <= passed
    assert evaluate(rule, [vote for vote in cast if vote.validator != name]).passed <= passed
    better = [replace(vote, verdict=Verdict.ALLOW) if vote.validator == name else vote for vote in cast]
    assert evaluate(rule, better).passed >= passed


@given(rules(), votes)
def test_a_veto_always_denies(rule: Rule, cast: list[Vote]) -> None:
    """
    Whoever is required, and funds and approval whatever the rule, must have said yes.
    """
    no = {vote.validator for vote in cast if vote.verdict is not Verdict.ALLOW}

    assert not (no & {*rule.required, *CONDITIONS} and evaluate(rule, cast).passed)


@given(rules(), votes)
def test_all_rules_pass_what_all_allow(rule: Rule, cast: list[Vote]) -> None:
    """
    No rule that can be set is one that nothing passes; and what nobody allows, none passes.
    """
    assert evaluate(rule, [replace(vote, verdict=Verdict.ALLOW) for vote in cast]).passed
    assert not evaluate(rule, [replace(vote, verdict=Verdict.DENY) for vote in cast]).passed
    assert not evaluate(rule, []).passed


@given(rules(), votes, st.randoms())
def test_the_order_of_votes_does_not_matter(rule: Rule, cast: list[Vote], dice: Any) -> None:
    """
    The answer and its reason are the same, however the votes came in.
    """
    shuffled = list(cast)
    dice.shuffle(shuffled)

    assert evaluate(rule, shuffled) == evaluate(rule, cast)


@given(rules(), votes)
def test_who_was_not_heard_is_waited_for_only_if_it_can_matter(rule: Rule, cast: list[Vote]) -> None:
    """
    Where nobody is waited for, no word of theirs would change the answer; where somebody is, their yes would.
    """
    silent = unheard(rule, cast)
    heard = [replace(vote, verdict=Verdict.ALLOW) if vote.verdict is Verdict.ABSTAIN else vote for vote in cast]

    assert evaluate(rule, heard).passed == (evaluate(rule, cast).passed or bool(silent))
    assert {
        vote.validator for vote in cast if vote.validator in silent and vote.verdict is not Verdict.ABSTAIN
    } == set()
