CREATE TABLE books (
    book_id   uuid PRIMARY KEY,
    code      text COLLATE "C" NOT NULL UNIQUE,
    title     text,
    metadata  jsonb,
    opened_at timestamptz NOT NULL,
    position  bigint NOT NULL
);

CREATE TABLE payment_policies (
    book_id  uuid NOT NULL,
    version  integer NOT NULL,
    policy   jsonb NOT NULL,
    set_at   timestamptz NOT NULL,
    set_by   text NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (book_id, version)
);
COMMENT ON TABLE payment_policies IS 'All that were ever set; the one of the highest version of a book is in force.';

CREATE TABLE accounts (
    account_id      uuid PRIMARY KEY,
    book_id         uuid NOT NULL,
    code            text COLLATE "C" NOT NULL,
    type            text NOT NULL,
    currency        char(3) NOT NULL,
    title           text,
    status          text NOT NULL,
    opened_on       date NOT NULL,
    opened_at       timestamptz NOT NULL,
    metadata        jsonb,
    version         integer NOT NULL,
    opened_position bigint NOT NULL,
    position        bigint NOT NULL,
    UNIQUE (book_id, code)
);
COMMENT ON COLUMN accounts.position IS 'Of the last event that changed the account itself; opened_position of the first.';

-- An account without postings has no row.
CREATE TABLE balances (
    account_id      uuid PRIMARY KEY,
    debits          bigint NOT NULL,
    credits         bigint NOT NULL,
    pending_debits  bigint NOT NULL,
    pending_credits bigint NOT NULL,
    postings        bigint NOT NULL,
    position        bigint NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE balances IS 'Totals in minor units of the account''s currency, after its last posting.';

-- What was posted to an account, by value date, in each block of 128 of its postings: the first has the numbers from 1 to
-- 128. Those after the last full block are in none: they are few enough to be looked at one by one.
CREATE TABLE days (
    account_id uuid NOT NULL,
    value_date date NOT NULL,
    block      integer NOT NULL,
    debits     bigint NOT NULL,
    credits    bigint NOT NULL,
    PRIMARY KEY (account_id, value_date, block)
);
COMMENT ON TABLE days IS 'Minor units, pending ones not among them; a day with nothing but pending ones has a row too.';

-- One row for the opening of each account and one for each change: the ones in force are chosen when asked for.
CREATE TABLE limits (
    account_id      uuid NOT NULL,
    version         integer NOT NULL,
    effective_at    timestamptz,
    overdraft_limit bigint,
    floor           bigint,
    ceiling         bigint,
    position        bigint NOT NULL,
    PRIMARY KEY (account_id, version)
);
COMMENT ON COLUMN limits.effective_at IS 'NULL: since the account was opened.';
COMMENT ON COLUMN limits.overdraft_limit IS 'As floor and ceiling: minor units on the normal side; NULL is no limit.';
