-- book_totals --
-- What was posted to each account of a book up to one position: the last posting up to it has the totals.
WITH t AS (
    SELECT as_of, head, CASE
        WHEN %(position)s::bigint IS NOT NULL THEN %(position)s
        WHEN %(at)s::timestamptz IS NOT NULL THEN daybook.position_at(%(at)s)
        ELSE as_of
    END AS position
    FROM (
        SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
        FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
    ) AS tracked
)
SELECT as_of, head, t.position AS position_read, account_id, code, type, currency, metadata,
       coalesce(last.debits, 0) AS debits, coalesce(last.credits, 0) AS credits
FROM t
LEFT JOIN accounts
    ON book_id = %(book)s AND opened_position <= t.position
    AND (%(prefix)s::text IS NULL OR code = %(prefix)s OR code ^@ (%(prefix)s || ':'))
LEFT JOIN LATERAL (
    (SELECT postings.debits, postings.credits FROM daybook.postings
     WHERE t.head - t.position <= 1000 AND account = accounts.account_id AND postings.position <= t.position
     ORDER BY number DESC LIMIT 1)
    UNION ALL
    SELECT totals.debits, totals.credits FROM daybook.totals_at(accounts.account_id, t.position) AS totals
    WHERE t.head - t.position > 1000
) AS last ON true
ORDER BY code;

-- book_totals_dated --
-- The same of value dates in a range: full blocks of an account's postings are added up already, day by day, and only
-- those after the last full one up to the position are counted one by one.
WITH t AS (
    SELECT as_of, head, CASE
        WHEN %(position)s::bigint IS NOT NULL THEN %(position)s
        WHEN %(at)s::timestamptz IS NOT NULL THEN daybook.position_at(%(at)s)
        ELSE as_of
    END AS position
    FROM (
        SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
        FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
    ) AS tracked
)
SELECT as_of, head, t.position AS position_read, accounts.account_id, code, type, currency, metadata,
       coalesce(full_blocks.debits, 0) + coalesce(rest.debits, 0) AS debits,
       coalesce(full_blocks.credits, 0) + coalesce(rest.credits, 0) AS credits
FROM t
LEFT JOIN accounts
    ON book_id = %(book)s AND opened_position <= t.position
    AND (%(prefix)s::text IS NULL OR code = %(prefix)s OR code ^@ (%(prefix)s || ':'))
LEFT JOIN LATERAL (
    SELECT number, least(number, coalesce(balances.postings, 0)) / 128 AS blocks
    FROM (SELECT daybook.number_at(accounts.account_id, t.position) AS number OFFSET 0) AS last
    LEFT JOIN balances ON balances.account_id = accounts.account_id
) AS reach ON true
LEFT JOIN LATERAL (
    SELECT sum(days.debits)::bigint AS debits, sum(days.credits)::bigint AS credits
    FROM days
    WHERE days.account_id = accounts.account_id AND block < reach.blocks
      AND (%(value_date_from)s::date IS NULL OR value_date >= %(value_date_from)s)
      AND (%(value_date_before)s::date IS NULL OR value_date < %(value_date_before)s)
) AS full_blocks ON true
LEFT JOIN LATERAL (
    SELECT (sum(amount) FILTER (WHERE side = 'D'))::bigint AS debits,
           (sum(amount) FILTER (WHERE side = 'C'))::bigint AS credits
    FROM daybook.postings
    WHERE account = accounts.account_id AND postings.number > 128 * reach.blocks AND postings.number <= reach.number
      AND NOT pending
      AND (%(value_date_from)s::date IS NULL OR value_date >= %(value_date_from)s)
      AND (%(value_date_before)s::date IS NULL OR value_date < %(value_date_before)s)
) AS rest ON true
ORDER BY code;
