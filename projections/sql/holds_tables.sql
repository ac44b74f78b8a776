CREATE TABLE holds (
    hold_id        uuid PRIMARY KEY,
    book_id        uuid NOT NULL,
    account_id     uuid NOT NULL,
    destination_id uuid NOT NULL,
    position       bigint NOT NULL,
    recorded_at    timestamptz NOT NULL,
    status         text NOT NULL,
    amount         bigint NOT NULL,
    captured       bigint NOT NULL,
    remaining      bigint NOT NULL,
    currency       char(3) NOT NULL,
    expires_at     timestamptz,
    actor          text NOT NULL,
    description    text,
    reference      text,
    metadata       jsonb,
    version        integer NOT NULL,
    changed        bigint NOT NULL
);
CREATE UNIQUE INDEX holds_book ON holds (book_id, position);
CREATE UNIQUE INDEX holds_position ON holds (position);
CREATE INDEX holds_account ON holds (account_id, position);
CREATE INDEX holds_due ON holds (expires_at) WHERE status = 'held' AND expires_at IS NOT NULL;
COMMENT ON COLUMN holds.changed IS 'Position of the last event of the hold; position of the first.';
