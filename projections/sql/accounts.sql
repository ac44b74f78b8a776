-- open_books --
-- A book is opened once: a second row of it would mean that the log is broken, and stops the projection.
INSERT INTO books (book_id, code, title, metadata, opened_at, position)
SELECT * FROM json_to_recordset(%(rows)s::json) AS r (
    book_id uuid, code text, title text, metadata jsonb, opened_at timestamptz, position bigint
);

-- set_payment_policies --
-- All that were ever set: the last one is in force.
INSERT INTO payment_policies (book_id, version, policy, set_at, set_by, position)
SELECT * FROM json_to_recordset(%(rows)s::json) AS r (
    book_id uuid, version integer, policy jsonb, set_at timestamptz, set_by text, position bigint
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
-- Postings of one account in a batch are added up first: one account may be in all of them. Whenever an account has
-- another 128 postings, these are added up by value date: the log's own rows, as only there they have their numbers.
WITH added AS (
    SELECT account_id, coalesce(sum(debit), 0) AS debits, coalesce(sum(credit), 0) AS credits,
           coalesce(sum(pending_debit), 0) AS pending_debits, coalesce(sum(pending_credit), 0) AS pending_credits,
           count(*) AS postings, max(position) AS position
    FROM json_to_recordset(%(rows)s::json) AS r (
        account_id uuid, debit bigint, credit bigint, pending_debit bigint, pending_credit bigint, position bigint
    )
    GROUP BY account_id
), now AS (
    INSERT INTO balances AS b (account_id, debits, credits, pending_debits, pending_credits, postings, position)
    SELECT * FROM added
    ON CONFLICT (account_id) DO UPDATE SET
        debits = b.debits + excluded.debits,
        credits = b.credits + excluded.credits,
        pending_debits = b.pending_debits + excluded.pending_debits,
        pending_credits = b.pending_credits + excluded.pending_credits,
        postings = b.postings + excluded.postings,
        position = excluded.position
    RETURNING account_id, postings
)
INSERT INTO days (account_id, value_date, block, debits, credits)
SELECT account_id, of_day.*
FROM now
JOIN added USING (account_id)
CROSS JOIN generate_series((now.postings - added.postings) / 128, now.postings / 128 - 1) AS full_block (block)
CROSS JOIN LATERAL (
    SELECT value_date, full_block.block,
           coalesce(sum(amount) FILTER (WHERE side = 'D' AND NOT pending), 0),
           coalesce(sum(amount) FILTER (WHERE side = 'C' AND NOT pending), 0)
    FROM daybook.postings
    WHERE account = account_id AND number > 128 * full_block.block AND number <= 128 * full_block.block + 128
    GROUP BY value_date
) AS of_day;
