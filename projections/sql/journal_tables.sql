CREATE TABLE entries (
    entry_id    uuid PRIMARY KEY,
    book_id     uuid NOT NULL,
    position    bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    reverses    uuid,
    reversed_by uuid,
    value_date  date NOT NULL,
    actor       text NOT NULL,
    description text,
    reference   text,
    metadata    jsonb,
    postings    jsonb NOT NULL,
    captures    uuid,
    recipe      jsonb
);
CREATE UNIQUE INDEX entries_book ON entries (book_id, position);
COMMENT ON COLUMN entries.postings IS 'Array of {account_id, side, amount, currency}, in the entry''s order; minor units.';
