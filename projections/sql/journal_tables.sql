-- Where an entry is, the log's own index of streams says: another one by random ids would be as large as the table's key.
CREATE TABLE entries (
    entry_id    uuid NOT NULL,
    book_id     uuid NOT NULL,
    position    bigint PRIMARY KEY,
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
CREATE INDEX entries_book ON entries (book_id, position);
CREATE INDEX entries_reference ON entries (reference) WHERE reference IS NOT NULL;
CREATE INDEX entries_metadata ON entries USING gin (metadata jsonb_path_ops) WHERE metadata IS NOT NULL;
CREATE INDEX entries_actor ON entries (actor, position);
CREATE INDEX entries_value_date ON entries (book_id, value_date, position);
CREATE INDEX entries_reversed ON entries (book_id, position) WHERE reversed_by IS NOT NULL;
CREATE INDEX entries_reversals ON entries (book_id, position) WHERE reverses IS NOT NULL;
CREATE INDEX entries_captures ON entries (book_id, position) WHERE captures IS NOT NULL;
COMMENT ON COLUMN entries.postings IS 'Array of [account_id, side, amount, currency], in the entry''s order; minor units.';
