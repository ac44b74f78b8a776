-- book_totals --
-- What was posted to each account of a book up to one position, and of value dates in a range if one is asked for; that
-- is counted posting by posting, and without it the last posting up to the position has the totals.
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
     WHERE NOT %(dated)s::boolean AND t.head - t.position <= 1000
       AND account = accounts.account_id AND postings.position <= t.position
     ORDER BY number DESC LIMIT 1)
    UNION ALL
    SELECT totals.debits, totals.credits FROM daybook.totals_at(accounts.account_id, t.position) AS totals
    WHERE NOT %(dated)s::boolean AND t.head - t.position > 1000
    UNION ALL
    SELECT coalesce(sum(amount) FILTER (WHERE side = 'D'), 0)::bigint,
           coalesce(sum(amount) FILTER (WHERE side = 'C'), 0)::bigint
    FROM daybook.postings
    WHERE %(dated)s::boolean AND account = accounts.account_id AND postings.position <= t.position AND NOT pending
      AND (%(value_date_from)s::date IS NULL OR value_date >= %(value_date_from)s)
      AND (%(value_date_before)s::date IS NULL OR value_date < %(value_date_before)s)
    HAVING %(dated)s::boolean
) AS last ON true
ORDER BY code;
