-- The read models: everything here is derived from the log and can be built again. Nothing decides on it.

CREATE SCHEMA daybook_read;

-- How far each projection has applied the log. The shape is the eventsourcing library's.
CREATE TABLE daybook_read.tracking (
    application_name text PRIMARY KEY,
    notification_id  bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE daybook_read.books (
    book_id   uuid PRIMARY KEY,
    code      text COLLATE "C" NOT NULL UNIQUE,
    title     text,
    metadata  jsonb,
    opened_at timestamptz NOT NULL,
    position  bigint NOT NULL
);

CREATE TABLE daybook_read.accounts (
    account_id      uuid PRIMARY KEY,
    book_id         uuid NOT NULL,
    code            text COLLATE "C" NOT NULL,
    type            text NOT NULL,
    currency        char(3) NOT NULL,
    title           text,
    overdraft_limit bigint,
    floor           bigint,
    ceiling         bigint,
    status          text NOT NULL,
    opened_on       date NOT NULL,
    opened_at       timestamptz NOT NULL,
    metadata        jsonb,
    version         integer NOT NULL,
    opened_position bigint NOT NULL,
    position        bigint NOT NULL,
    UNIQUE (book_id, code)
);
COMMENT ON COLUMN daybook_read.accounts.overdraft_limit IS 'As floor and ceiling: minor units on the normal side; NULL is no limit.';
COMMENT ON COLUMN daybook_read.accounts.position IS 'Of the last event that changed the account itself; opened_position of the first.';

-- An account without postings has no row.
CREATE TABLE daybook_read.balances (
    account_id      uuid PRIMARY KEY,
    debits          bigint NOT NULL,
    credits         bigint NOT NULL,
    pending_debits  bigint NOT NULL,
    pending_credits bigint NOT NULL,
    postings        bigint NOT NULL,
    position        bigint NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE daybook_read.balances IS 'Totals in minor units of the account''s currency, after its last posting.';

CREATE TABLE daybook_read.entries (
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
    postings    jsonb NOT NULL
);
CREATE UNIQUE INDEX entries_book ON daybook_read.entries (book_id, position);
COMMENT ON COLUMN daybook_read.entries.postings IS 'Array of {account_id, side, amount, currency}, in the entry''s order; minor units.';

CREATE TABLE daybook_read.audit_trail (
    position        bigint PRIMARY KEY,
    recorded_at     timestamptz NOT NULL,
    stream          uuid NOT NULL,
    book_id         uuid,
    scope           uuid,
    event           text NOT NULL,
    actor           text NOT NULL,
    request_id      text,
    correlation_id  text,
    causation_id    text,
    idempotency_key text,
    command         text,
    refusal         text,
    details         jsonb
);
CREATE INDEX audit_trail_book ON daybook_read.audit_trail (book_id, position);
CREATE INDEX audit_trail_actor ON daybook_read.audit_trail (actor, position);
CREATE INDEX audit_trail_refused ON daybook_read.audit_trail (position) WHERE refusal IS NOT NULL;
CREATE INDEX audit_trail_scope ON daybook_read.audit_trail (scope) WHERE scope IS NOT NULL;
COMMENT ON COLUMN daybook_read.audit_trail.scope IS 'Of a refused command: the book it was asked of, or the thing it was asked upon.';
COMMENT ON COLUMN daybook_read.audit_trail.refusal IS 'The code of the refusal, with its details; NULL for what was done.';
