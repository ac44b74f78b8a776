"""Ids: TypeIDs as their specification has them, and names that are given once for ever."""

from uuid import UUID

import pytest

from domain import ids

# Source: TypeID specification 0.3.0, valid.yml.
VALID = [
    ("nil", "prefix_00000000000000000000000000", "00000000-0000-0000-0000-000000000000"),
    ("one", "prefix_00000000000000000000000001", "00000000-0000-0000-0000-000000000001"),
    ("ten", "prefix_0000000000000000000000000a", "00000000-0000-0000-0000-00000000000a"),
    ("sixteen", "prefix_0000000000000000000000000g", "00000000-0000-0000-0000-000000000010"),
    ("thirty-two", "prefix_00000000000000000000000010", "00000000-0000-0000-0000-000000000020"),
    ("max-valid", "prefix_7zzzzzzzzzzzzzzzzzzzzzzzzz", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    ("valid-alphabet", "prefix_0123456789abcdefghjkmnpqrs", "0110c853-1d09-52d8-d73e-1194e95b5f19"),
    ("valid-uuidv7", "prefix_01h455vb4pex5vsknk084sn02q", "01890a5d-ac96-774b-bcce-b302099a8057"),
    ("prefix-underscore", "pre_fix_00000000000000000000000000", "00000000-0000-0000-0000-000000000000"),
]

# Source: TypeID specification 0.3.0, invalid.yml, as far as it concerns an id of a kind that is known.
INVALID = {
    "prefix-uppercase": "PREFIX_00000000000000000000000000",
    "separator-empty-prefix": "_00000000000000000000000000",
    "separator-empty": "_",
    "suffix-short": "prefix_1234567890123456789012345",
    "suffix-long": "prefix_123456789012345678901234567",
    "suffix-spaces": "prefix_1234567890123456789012345 ",
    "suffix-uppercase": "prefix_0123456789ABCDEFGHJKMNPQRS",
    "suffix-hyphens": "prefix_123456789-123456789-123456",
    "suffix-wrong-alphabet": "prefix_ooooooiiiiiiuuuuuuulllllll",
    "suffix-ambiguous-crockford": "prefix_i23456789ol23456789oi23456",
    "suffix-hyphens-crockford": "prefix_123456789-0123456789-0123456",
    "suffix-overflow": "prefix_8zzzzzzzzzzzzzzzzzzzzzzzzz",
    "other-kind": "other_00000000000000000000000000",
    "no-prefix": "00000000000000000000000000",
    "empty": "",
    "other-digits": "prefix_0000000000000000000000000\u0661",
    "newline": "prefix_00000000000000000000000000\n",
}


@pytest.mark.parametrize(("text", "uuid"), [row[1:] for row in VALID], ids=[row[0] for row in VALID])
def test_typeids_are_those_of_the_specification(text: str, uuid: str) -> None:
    """
    A UUID and its TypeID name the same thing.
    """
    prefix = text.rpartition("_")[0]

    assert ids.show(prefix, UUID(uuid)) == text
    assert ids.parse(prefix, text) == UUID(uuid)


@pytest.mark.parametrize("text", INVALID.values(), ids=INVALID.keys())
def test_refuses_what_is_no_id_of_the_kind(text: str) -> None:
    """
    There is one spelling of an id, and an id of another kind is not taken for this one.
    """
    with pytest.raises(ValueError, match="not an id of the kind prefix_"):
        ids.parse("prefix", text)


def test_names_are_given_once_for_ever() -> None:
    """
    What a code or key names never changes: these ids are in people's books.
    """
    main = ids.book_id("main")

    assert str(main) == "e7868d0d-a6d0-5571-9074-843b35b28ea1"
    assert str(ids.account_id(main, "cash")) == "2e0ab015-fafd-5f46-8c29-2a7ffe16861c"
    assert str(ids.command_id(main, "post_entry", "key-1")) == "351577b1-eec7-5516-9be0-6ae4910cc454"


def test_one_key_names_different_commands_in_different_places() -> None:
    """
    A key counts within one book or thing, and for one kind of command.
    """
    main, other = ids.book_id("main"), ids.book_id("other")

    named = {
        ids.command_id(main, "post_entry", "1"),
        ids.command_id(main, "post_entry", "2"),
        ids.command_id(main, "open_account", "1"),
        ids.command_id(other, "post_entry", "1"),
        ids.account_id(main, "1"),
        ids.account_id(other, "1"),
    }

    assert len(named) == 6
