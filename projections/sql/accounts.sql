-- open_books --
-- A book is opened once: a second row of it would mean that the log is broken, and stops the projection.
INSERT INTO books (book_id, code, title, metadata, opened_at, position)
SELECT * FROM json_to_recordset(%(rows)s::json) AS r (
    book_id uuid, code text, title text, metadata jsonb, opened_at timestamptz, position bigint
);

-- open_accounts --
-- An account is opened once, under a code of its own in its book.
INSERT INTO accounts (account_id, book_id, code, type, currency, title, status,
                      opened_on, opened_at, metadata, version, opened_position, position)
SELECT account_id, book_id, code, type, currency, title, status,
       opened_on, opened_at, metadata, version, position, position
FROM json_to_recordset(%(rows)s::json) AS r (
    account_id uuid, book_id uuid, code text, type text, currency text, title text, status text, opened_on date,
    opened_at timestamptz, metadata jsonb, version integer, position bigint
);

-- add_limits --
-- All that were ever decided: which are in force depends on when that is asked.
INSERT INTO limits (account_id, version, effective_at, overdraft_limit, floor, ceiling, position)
SELECT * FROM json_to_recordset(%(rows)s::json) AS r (
    account_id uuid, version integer, effective_at timestamptz, overdraft_limit bigint, floor bigint, ceiling bigint,
    position bigint
);

-- change_accounts --
-- Of several changes of one account in a batch the last one stands; the status is that of the last one that sets it.
UPDATE accounts SET status = coalesce(last.status, accounts.status), version = last.version, position = last.position
FROM (
    SELECT account_id, (array_agg(status ORDER BY position DESC) FILTER (WHERE status IS NOT NULL))[1] AS status,
           max(version) AS version, max(position) AS position
    FROM json_to_recordset(%(rows)s::json) AS r (account_id uuid, status text, version integer, position bigint)
    GROUP BY account_id
) AS last
WHERE accounts.account_id = last.account_id;

-- add_postings --
-- Postings of one account in a batch are added up first: one account may be in all of them.
INSERT INTO balances AS b (account_id, debits, credits, pending_debits, pending_credits, postings, position)
SELECT account_id, sum(debit), sum(credit), sum(pending_debit), sum(pending_credit), count(*), max(position)
FROM json_to_recordset(%(rows)s::json) AS r (
    account_id uuid, debit bigint, credit bigint, pending_debit bigint, pending_credit bigint, position bigint
)
GROUP BY account_id
ON CONFLICT (account_id) DO UPDATE SET
    debits = b.debits + excluded.debits,
    credits = b.credits + excluded.credits,
    pending_debits = b.pending_debits + excluded.pending_debits,
    pending_credits = b.pending_credits + excluded.pending_credits,
    postings = b.postings + excluded.postings,
    position = excluded.position;
