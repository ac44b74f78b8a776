"""What is written by COPY is what a statement would have written."""

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.postgres.changing import _Copy

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
DOCUMENT = st.dictionaries(TEXT, TEXT)
NASTY = ["null", "", "\\", "\\n", "\n", '"', "a\tb\r\n\\.\n", "],[", "]\n[", "\\N", "é\u2028\x7f\x01"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.none() | TEXT | st.sampled_from(NASTY), st.none() | DOCUMENT), min_size=1, max_size=20))
def test_every_text_and_document_comes_through(database: str, cells: list[tuple[str | None, dict[str, str]]]) -> None:
    """
    Control characters, quotes, backslashes, what looks like a null or an end of the data: all are what they were.
    """
    rows = [{"number": number, "words": words, "document": document} for number, (words, document) in enumerate(cells)]
    with psycopg.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE t (number int, words text, document jsonb)")
        copy = _Copy("COPY t (number, words, document) FROM STDIN", ("number", "words", "document"), {"document"})
        copy.write(cursor, [dict(row) for row in rows])
        found = cursor.execute("SELECT words, document FROM t ORDER BY number").fetchall()
        connection.rollback()

    assert found == cells
