-- Holds: pending postings, taken back by the same amount below zero when the hold ends or is captured.

ALTER TABLE daybook.postings DROP CONSTRAINT postings_amount_check;
ALTER TABLE daybook.postings ADD CONSTRAINT postings_amount_check CHECK (amount > 0 OR (pending AND amount < 0));

CREATE TABLE daybook_read.holds (
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
CREATE UNIQUE INDEX holds_book ON daybook_read.holds (book_id, position);
CREATE INDEX holds_account ON daybook_read.holds (account_id, position);
CREATE INDEX holds_due ON daybook_read.holds (expires_at) WHERE status = 'held' AND expires_at IS NOT NULL;
COMMENT ON COLUMN daybook_read.holds.changed IS 'Position of the last event of the hold; position of the first.';

ALTER TABLE daybook_read.entries ADD COLUMN captures uuid, ADD COLUMN recipe jsonb;

-- Limits that are yet to take effect, or have: the ones in force are chosen when asked for.
CREATE TABLE daybook_read.limits (
    account_id      uuid NOT NULL,
    version         integer NOT NULL,
    effective_at    timestamptz,
    overdraft_limit bigint,
    floor           bigint,
    ceiling         bigint,
    position        bigint NOT NULL,
    PRIMARY KEY (account_id, version)
);
COMMENT ON COLUMN daybook_read.limits.effective_at IS 'NULL: since the account was opened.';
