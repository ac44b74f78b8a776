-- open_books --
-- A book is opened once: a second row of it would mean that the log is broken, and stops the projection.
INSERT INTO books (book_id, code, title, metadata, opened_at, position)
SELECT * FROM json_to_recordset(%(rows)s::json) AS r (
    book_id uuid, code text, title text, metadata jsonb, opened_at timestamptz, position bigint
);

-- open_accounts --
-- An account is opened once, under a code of its own in its book.
INSERT INTO accounts (account_id, book_id, code, type, currency, title, overdraft_limit, floor, ceiling, status,
                      opened_on, opened_at, metadata, version, opened_position, position)
SELECT account_id, book_id, code, type, currency, title, overdraft_limit, floor, ceiling, status,
       opened_on, opened_at, metadata, version, position, position
FROM json_to_recordset(%(rows)s::json) AS r (
    account_id uuid, book_id uuid, code text, type text, currency text, title text, overdraft_limit bigint,
    floor bigint, ceiling bigint, status text, opened_on date, opened_at timestamptz, metadata jsonb, version integer,
    position bigint
);

-- set_statuses --
-- Of several changes of one account in a batch the last one stands.
UPDATE accounts SET status = last.status, version = last.version, position = last.position
FROM (
    SELECT DISTINCT ON (account_id) account_id, status, version, position
    FROM json_to_recordset(%(rows)s::json) AS r (account_id uuid, status text, version integer, position bigint)
    ORDER BY account_id, position DESC
) AS last
WHERE accounts.account_id = last.account_id;

-- add_postings --
-- Postings of one account in a batch are added up first: one account may be in all of them.
INSERT INTO balances AS b (account_id, debits, credits, pending_debits, pending_credits, postings, position)
SELECT account_id, sum(debit), sum(credit), 0, 0, count(*), max(position)
FROM json_to_recordset(%(rows)s::json) AS r (account_id uuid, debit bigint, credit bigint, position bigint)
GROUP BY account_id
ON CONFLICT (account_id) DO UPDATE SET
    debits = b.debits + excluded.debits,
    credits = b.credits + excluded.credits,
    postings = b.postings + excluded.postings,
    position = excluded.position;
