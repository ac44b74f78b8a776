CREATE TABLE escrows (
    escrow_id      uuid PRIMARY KEY,
    book_id        uuid NOT NULL,
    depositor_id   uuid NOT NULL,
    beneficiary_id uuid NOT NULL,
    position       bigint NOT NULL,
    created_at     timestamptz NOT NULL,
    status         text NOT NULL,
    amount         bigint NOT NULL,
    released       bigint NOT NULL,
    returned       bigint NOT NULL,
    suspended      bigint NOT NULL,
    currency       char(3) NOT NULL,
    expires_at     timestamptz NOT NULL,
    on_expiry      text NOT NULL,
    conditions     jsonb NOT NULL,
    met            jsonb NOT NULL,
    return_terms   jsonb,
    returns        jsonb NOT NULL,
    maker          text NOT NULL,
    description    text,
    reference      text,
    metadata       jsonb,
    version        integer NOT NULL,
    changed        bigint NOT NULL,
    changed_at     timestamptz NOT NULL
);
CREATE UNIQUE INDEX escrows_book ON escrows (book_id, position);
CREATE UNIQUE INDEX escrows_position ON escrows (position);
CREATE INDEX escrows_depositor ON escrows (depositor_id, position);
CREATE INDEX escrows_beneficiary ON escrows (beneficiary_id, position);
CREATE INDEX escrows_open ON escrows (position) WHERE status IN ('funded', 'partially_released');
CREATE INDEX escrows_reference ON escrows (reference) WHERE reference IS NOT NULL;
CREATE INDEX escrows_due ON escrows (expires_at) WHERE status IN ('funded', 'partially_released');
COMMENT ON COLUMN escrows.met IS 'Of each condition that is met, who said so.';
COMMENT ON COLUMN escrows.returns IS 'What each approver has agreed to have returned, since something last was.';
COMMENT ON COLUMN escrows.suspended IS 'How much of what was released or returned is on suspense instead.';
COMMENT ON COLUMN escrows.changed IS 'Position of the last event of the escrow, changed_at its time; position of the first.';
CREATE TABLE escrow_parts (
    escrow_id  uuid NOT NULL,
    number     integer NOT NULL,
    position   bigint NOT NULL,
    name       text NOT NULL,
    amount     bigint NOT NULL,
    released   bigint NOT NULL,
    returned   bigint NOT NULL,
    conditions jsonb NOT NULL,
    approvals  integer NOT NULL,
    approvers  jsonb NOT NULL,
    approved   jsonb NOT NULL,
    blocked    text,
    changed    bigint NOT NULL,
    PRIMARY KEY (escrow_id, number)
);
CREATE UNIQUE INDEX escrow_parts_name ON escrow_parts (escrow_id, name);
COMMENT ON COLUMN escrow_parts.approved IS 'Which of the approvers have approved, in that order.';
COMMENT ON COLUMN escrow_parts.blocked IS 'Why the beneficiary''s account could not take it when it became ready.';
