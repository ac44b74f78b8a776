"""Nacha files that nobody here made: our verdict against a widely used validator's, on its files and their mutants.

The data are not part of this repository; where they are not beside the checkout, this is skipped and says so.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from adapters.rails.ach.codes import CHANGES, RETURNS
from adapters.rails.ach.reading import read
from adapters.rails.ach.records import Reading
from tests.serving import TOP

NACHA = TOP / "../shared/data/vectors/nacha"

pytestmark = pytest.mark.skipif(not NACHA.is_dir(), reason=f"the files are not there: {NACHA.name} in ../shared/data")

KEPT_ONCE: Final = (
    "the validator keeps one addenda of this type for an entry and counts a doubled one once; there is one record more "
    "in the file than its control says, and a bank would send it back: Nacha, Appendix Two, batch out of balance"
)
DISAGREEMENTS: Final = {"00449": KEPT_ONCE, "03685": KEPT_ONCE, "04239": KEPT_ONCE}
"""Mutants of which we say something else, and why; in each, the validator accepts and we do not."""

NOT_NACHA: Final = ".json"
"""The validator's own JSON of a file, some without the controls that it works out by itself: not this format."""


def lines_of(name: str) -> Iterator[dict[str, Any]]:
    with (NACHA / name).open() as file:
        yield from map(json.loads, file)


def mutated(mutant: dict[str, Any]) -> bytes:
    """The base with one character changed, or one record left out, doubled, or exchanged with another."""
    lines = (NACHA / "files" / mutant["base"]).read_text("utf-8").split("\n")
    at = mutant["line"] - 1
    match mutant.get("op"):
        case "drop":
            del lines[at]
        case "dup":
            lines.insert(at, lines[at])
        case "swap":
            other = mutant["with"] - 1
            lines[at], lines[other] = lines[other], lines[at]
        case None:
            column = mutant["col"] - 1
            assert lines[at][column] == mutant["old"], mutant
            lines[at] = lines[at][:column] + mutant["new"] + lines[at][column + 1 :]
    return "\n".join(lines).encode()


def accepted_there(verdict: dict[str, Any]) -> bool:
    return verdict["read_errors"] is None and verdict["validate_errors"] is None


def summary(reading: Reading) -> list[dict[str, Any]]:
    """What we read, in the words of the verdicts."""
    return [
        {
            "sec": batch.header.stripped("entry_class"),
            "service_class": batch.header.number("service_class"),
            "company": batch.header.stripped("company_name"),
            "company_id": batch.header.stripped("company_id"),
            "odfi": batch.header.stripped("odfi"),
            "number": batch.header.number("batch_number"),
            "entries": [
                {
                    "tc": entry.record.number("transaction_code"),
                    "rdfi": entry.record.raw("rdfi") + entry.record.raw("check_digit"),
                    "account": entry.record.stripped("account"),
                    "amount": entry.record.number("amount"),
                    "trace": entry.record.raw("trace"),
                }
                for entry in batch.entries
            ],
        }
        for batch in reading.batches
        if not batch.is_iat
    ]


def test_every_file_gets_the_validators_verdict() -> None:
    """
    78 files: accepted where it accepts them, rejected where it does not. 20 more are JSON, and no Nacha files to us.
    """
    verdicts = [verdict for verdict in lines_of("verdicts.jsonl")]
    nacha = [verdict for verdict in verdicts if not verdict["file"].endswith(NOT_NACHA)]

    ours = {each["file"]: read((NACHA / "files" / each["file"]).read_bytes()).accepted for each in verdicts}

    assert (len(nacha), len(verdicts)) == (78, 98)
    assert {each["file"]: ours[each["file"]] for each in nacha} == {
        each["file"]: accepted_there(each) for each in nacha
    }
    assert not any(accepted for name, accepted in ours.items() if name.endswith(NOT_NACHA))


def test_every_accepted_file_is_read_as_the_validator_reads_it() -> None:
    """
    Batches and entries, field by field; accounting advices and payments over the border by their totals alone.
    """
    checked = 0
    for verdict in lines_of("verdicts.jsonl"):
        if verdict["file"].endswith(NOT_NACHA) or not accepted_there(verdict):
            continue
        reading = read((NACHA / "files" / verdict["file"]).read_bytes())
        ours = summary(reading)
        assert len(ours) == verdict["batches"]
        assert len(reading.batches) - len(ours) == verdict["iat_batches"]
        for batch, theirs in zip(ours, verdict["batch_detail"] or [], strict=True):
            assert batch | {"entries": []} == {name: theirs[name] for name in batch} | {"entries": []}
            entries = theirs["entries"] or batch["entries"]  # Of accounting advices it tells none.
            named = [{name: entry[name] for name in batch["entries"][0]} for entry in entries]
            assert batch["entries"] == [{**entry, "account": entry["account"].strip()} for entry in named]
            checked += len(entries)
    assert checked > 70


def test_every_mutant_gets_the_validators_verdict_or_has_a_reason() -> None:
    """
    2,282 mutants, at least 99 in 100 alike; the rest are those in the table and no others.
    """
    mutants = list(lines_of("mutants.jsonl"))

    unlike = {mutant["id"] for mutant in mutants if read(mutated(mutant)).accepted != mutant["accepted"]}

    assert len(mutants) == 2_282
    assert unlike == set(DISAGREEMENTS)
    assert len(unlike) <= len(mutants) / 100


def test_every_code_of_the_lists_is_known() -> None:
    """
    The return codes and change codes are those that were published, none more and none less.
    """
    returns = {each["code"] for each in json.loads((NACHA / "return_codes.json").read_text())}
    changes = {each["code"] for each in json.loads((NACHA / "change_codes.json").read_text())}

    assert returns == set(RETURNS)
    assert changes == set(CHANGES)
