-- tracked --
-- How far the read models of those projections reach, all of them, and the log; of none of them, the log's head. Every
-- query below begins like this, so that an answer and the position it is for are of one snapshot, and gives that row
-- also when it finds nothing.
SELECT coalesce(min(coalesce(notification_id, 0)), daybook.head()) AS as_of, daybook.head() AS head
FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name;

-- books --
-- By code. Of the two directions the planner drops the one that is not asked for.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
), page AS (
    (SELECT * FROM books
     WHERE %(before)s::uuid IS NULL
       AND (%(after)s::uuid IS NULL OR code > (SELECT code FROM books WHERE book_id = %(after)s))
     ORDER BY code LIMIT %(limit)s)
    UNION ALL
    (SELECT * FROM books
     WHERE %(before)s::uuid IS NOT NULL AND code < (SELECT code FROM books WHERE book_id = %(before)s)
     ORDER BY code DESC LIMIT %(limit)s)
)
SELECT as_of, head, book_id, code, title, metadata, opened_at FROM t LEFT JOIN page ON true ORDER BY code;

-- book --
-- One, by its id.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
)
SELECT as_of, head, book_id, code, title, metadata, opened_at FROM t LEFT JOIN books ON book_id = %(book)s;

-- payment_policy --
-- Of one book, by its id: the one in force, if any was set.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
)
SELECT as_of, head, books.book_id, policy, set_at, set_by, version, payment_policies.position
FROM t
LEFT JOIN books ON books.book_id = %(book)s
LEFT JOIN payment_policies ON payment_policies.book_id = books.book_id AND version = (
    SELECT max(version) FROM payment_policies AS p WHERE p.book_id = books.book_id
);

-- accounts --
-- By book and code, with their balances as of the position of the list, if those are asked for. Of an account's limits
-- those with the latest effective time that has come are in force.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
), wanted AS NOT MATERIALIZED (
    SELECT * FROM accounts
    WHERE (%(book)s::uuid IS NULL OR book_id = %(book)s)
      AND (%(code)s::text IS NULL OR code = %(code)s)
      AND (%(code_prefix)s::text IS NULL OR code ^@ %(code_prefix)s)
      AND (%(type)s::text IS NULL OR type = %(type)s)
      AND (%(status)s::text IS NULL OR status = %(status)s)
      AND (%(currency)s::text IS NULL OR currency = %(currency)s)
      AND (%(metadata)s::jsonb IS NULL OR metadata @> %(metadata)s)
      AND (%(opened_on_from)s::date IS NULL OR opened_on >= %(opened_on_from)s)
      AND (%(opened_on_to)s::date IS NULL OR opened_on <= %(opened_on_to)s)
), page AS (
    (SELECT * FROM wanted
     WHERE %(before)s::uuid IS NULL
       AND (%(after)s::uuid IS NULL
            OR (book_id, code) > (SELECT book_id, code FROM accounts WHERE account_id = %(after)s))
     ORDER BY book_id, code LIMIT %(limit)s)
    UNION ALL
    (SELECT * FROM wanted
     WHERE %(before)s::uuid IS NOT NULL
       AND (book_id, code) < (SELECT book_id, code FROM accounts WHERE account_id = %(before)s)
     ORDER BY book_id DESC, code DESC LIMIT %(limit)s)
)
SELECT as_of, head, account_id, book_id, code, type, currency, title, overdraft_limit, floor, ceiling, status,
       opened_on, opened_at, metadata, version, ARRAY(
           SELECT json_build_object('effective_at', effective_at, 'overdraft_limit', l.overdraft_limit,
                                    'floor', l.floor, 'ceiling', l.ceiling)
           FROM limits AS l WHERE l.account_id = page.account_id AND effective_at > now() ORDER BY l.version
       ) AS limits_to_come,
       number, debits, credits, pending_debits, pending_credits
FROM t
LEFT JOIN page ON true
LEFT JOIN LATERAL (
    SELECT overdraft_limit, floor, ceiling FROM limits
    WHERE limits.account_id = page.account_id AND (effective_at IS NULL OR effective_at <= now())
    ORDER BY effective_at DESC NULLS LAST, limits.version DESC LIMIT 1
) AS in_force ON true
LEFT JOIN LATERAL (
    SELECT * FROM daybook.postings
    WHERE %(balances)s::boolean AND account = page.account_id AND postings.position <= t.as_of
    ORDER BY number DESC LIMIT 1
) AS last ON true
ORDER BY book_id, code;

-- account --
-- One, by its id.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
)
SELECT as_of, head, account_id, book_id, code, type, currency, title, overdraft_limit, floor, ceiling, status,
       opened_on, opened_at, metadata, version, ARRAY(
           SELECT json_build_object('effective_at', effective_at, 'overdraft_limit', l.overdraft_limit,
                                    'floor', l.floor, 'ceiling', l.ceiling)
           FROM limits AS l WHERE l.account_id = accounts.account_id AND effective_at > now() ORDER BY l.version
       ) AS limits_to_come
FROM t
LEFT JOIN accounts ON account_id = %(account)s
LEFT JOIN LATERAL (
    SELECT overdraft_limit, floor, ceiling FROM limits
    WHERE limits.account_id = accounts.account_id AND (effective_at IS NULL OR effective_at <= now())
    ORDER BY effective_at DESC NULLS LAST, limits.version DESC LIMIT 1
) AS in_force ON true;

-- balance --
-- Of each of some accounts, from the log alone: its opening says what it is, its last posting what is on it.
SELECT head AS as_of, head, head AS position_read, account, opened.name AS opened_name,
       opened.payload AS opened_payload, number, debits, credits, pending_debits, pending_credits
FROM (SELECT daybook.head() AS head) AS log
CROSS JOIN unnest(%(accounts)s::uuid[]) AS wanted (account)
LEFT JOIN daybook.events AS opened ON opened.stream = account AND opened.version = 1
LEFT JOIN LATERAL (
    SELECT number, debits, credits, pending_debits, pending_credits FROM daybook.postings
    WHERE postings.account = wanted.account ORDER BY number DESC LIMIT 1
) AS last ON true;

-- balance_then --
-- One account's at a position or as known at a time: its last posting up to then is found by its posting numbers.
WITH t AS (
    SELECT head AS as_of, head, coalesce(%(position)s::bigint, daybook.position_at(%(at)s::timestamptz)) AS position
    FROM (SELECT daybook.head() AS head) AS log
)
SELECT as_of, head, t.position AS position_read, opened.name AS opened_name, opened.payload AS opened_payload,
       number, debits, credits, pending_debits, pending_credits
FROM t
LEFT JOIN daybook.events AS opened
    ON opened.stream = %(account)s AND opened.version = 1 AND opened.position <= t.position
LEFT JOIN LATERAL daybook.totals_at(%(account)s, t.position) AS last ON true;

-- balances --
-- Of all accounts by book and code, all of them at one position: the one asked for, or the one the list of accounts is
-- complete at. Near the head the last posting up to it is a few steps back; far from it, it is found by its number.
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
), page AS (
    (SELECT * FROM accounts
     WHERE %(before)s::uuid IS NULL
       AND (%(after)s::uuid IS NULL
            OR (book_id, code) > (SELECT book_id, code FROM accounts WHERE account_id = %(after)s))
       AND (%(book)s::uuid IS NULL OR book_id = %(book)s)
       AND opened_position <= (SELECT position FROM t)
     ORDER BY book_id, code LIMIT %(limit)s)
    UNION ALL
    (SELECT * FROM accounts
     WHERE %(before)s::uuid IS NOT NULL
       AND (book_id, code) < (SELECT book_id, code FROM accounts WHERE account_id = %(before)s)
       AND (%(book)s::uuid IS NULL OR book_id = %(book)s)
       AND opened_position <= (SELECT position FROM t)
     ORDER BY book_id DESC, code DESC LIMIT %(limit)s)
)
SELECT as_of, head, t.position AS position_read, account_id, code, type, currency,
       number, debits, credits, pending_debits, pending_credits
FROM t
LEFT JOIN page ON true
LEFT JOIN LATERAL (
    (SELECT * FROM daybook.postings
     WHERE t.head - t.position <= 1000 AND account = page.account_id AND postings.position <= t.position
     ORDER BY number DESC LIMIT 1)
    UNION ALL
    SELECT * FROM daybook.totals_at(page.account_id, t.position) WHERE t.head - t.position > 1000
) AS last ON true
ORDER BY book_id, code;

-- opening --
-- How an account was opened, from the log alone.
SELECT daybook.head() AS as_of, daybook.head() AS head, opened.name AS opened_name, opened.payload AS opened_payload
FROM (VALUES (1)) AS always (one)
LEFT JOIN daybook.events AS opened ON opened.stream = %(account)s AND opened.version = 1;

-- postings --
-- One account's, newest first, from the log alone. Times become posting numbers, as neither ever goes back along the log.
WITH t AS (
    SELECT daybook.head() AS as_of, daybook.head() AS head
), reach AS MATERIALIZED (
    SELECT CASE WHEN %(recorded_at_from)s::timestamptz IS NULL THEN 0 ELSE daybook.number_at(
               %(account)s, daybook.position_at(%(recorded_at_from)s - interval '1 microsecond')) END AS low,
           daybook.number_at(%(account)s, CASE WHEN %(recorded_at_to)s::timestamptz IS NULL THEN daybook.head()
                             ELSE daybook.position_at(%(recorded_at_to)s) END) AS high
), wanted AS NOT MATERIALIZED (
    SELECT * FROM daybook.postings
    WHERE account = %(account)s AND number > (SELECT low FROM reach) AND number <= (SELECT high FROM reach)
      AND (%(amount_min)s::bigint IS NULL OR abs(amount) >= %(amount_min)s)
      AND (%(amount_max)s::bigint IS NULL OR abs(amount) <= %(amount_max)s)
      AND (%(side)s::text IS NULL OR side = CASE %(side)s WHEN 'debit' THEN 'D'::"char" ELSE 'C'::"char" END)
      AND (%(pending)s::boolean IS NULL OR (pending AND %(pending)s) OR (NOT pending AND NOT %(pending)s))
), page AS (
    (SELECT * FROM wanted
     WHERE %(before)s::bigint IS NULL AND (%(after)s::bigint IS NULL OR number < %(after)s)
     ORDER BY number DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT * FROM wanted
     WHERE %(before)s::bigint IS NOT NULL AND number > %(before)s
     ORDER BY number LIMIT %(limit)s)
)
SELECT as_of, head, number, page.position, amount, debits, credits, pending_debits, pending_credits, value_date, pending,
       CASE side WHEN 'D' THEN 'debit' WHEN 'C' THEN 'credit' END AS side,
       posted.stream, posted.recorded_at, posted.name AS posted_name, posted.payload AS posted_payload
FROM t
LEFT JOIN page ON true
LEFT JOIN daybook.events AS posted ON posted.position = page.position
ORDER BY number DESC;

-- postings_dated --
-- The same of value dates in a range. The read model of days knows in which full blocks of the account's postings there
-- are any; those after the last full block are looked at. Block by block, as far as the page needs.
WITH t AS (
    SELECT daybook.head() AS as_of, daybook.head() AS head
), reach AS MATERIALIZED (
    SELECT greatest(low, %(before)s::bigint) AS low, least(high, %(after)s::bigint - 1) AS high, coalesce(
               (SELECT postings / 128 FROM balances WHERE account_id = %(account)s), 0) AS full_blocks
    FROM (
        SELECT CASE WHEN %(recorded_at_from)s::timestamptz IS NULL THEN 0 ELSE daybook.number_at(
                   %(account)s, daybook.position_at(%(recorded_at_from)s - interval '1 microsecond')) END AS low,
               daybook.number_at(%(account)s, CASE WHEN %(recorded_at_to)s::timestamptz IS NULL THEN daybook.head()
                                 ELSE daybook.position_at(%(recorded_at_to)s) END) AS high
    ) AS recorded
), blocks AS NOT MATERIALIZED (
    SELECT DISTINCT block FROM days
    WHERE account_id = %(account)s
      AND (%(value_date_from)s::date IS NULL OR value_date >= %(value_date_from)s)
      AND (%(value_date_to)s::date IS NULL OR value_date <= %(value_date_to)s)
      AND block >= (SELECT low / 128 FROM reach) AND block <= (SELECT (high - 1) / 128 FROM reach)
    UNION ALL
    SELECT generate_series(greatest(full_blocks, low / 128), (high - 1) / 128) FROM reach
), wanted AS NOT MATERIALIZED (
    SELECT * FROM daybook.postings
    WHERE account = %(account)s AND number > (SELECT low FROM reach) AND number <= (SELECT high FROM reach)
      AND (%(value_date_from)s::date IS NULL OR value_date >= %(value_date_from)s)
      AND (%(value_date_to)s::date IS NULL OR value_date <= %(value_date_to)s)
      AND (%(amount_min)s::bigint IS NULL OR abs(amount) >= %(amount_min)s)
      AND (%(amount_max)s::bigint IS NULL OR abs(amount) <= %(amount_max)s)
      AND (%(side)s::text IS NULL OR side = CASE %(side)s WHEN 'debit' THEN 'D'::"char" ELSE 'C'::"char" END)
      AND (%(pending)s::boolean IS NULL OR (pending AND %(pending)s) OR (NOT pending AND NOT %(pending)s))
), page AS (
    (SELECT found.* FROM (SELECT block FROM blocks ORDER BY block DESC OFFSET 0) AS newest
     CROSS JOIN LATERAL (
         SELECT * FROM wanted WHERE number > 128 * block AND number <= 128 * block + 128 OFFSET 0
     ) AS found
     WHERE %(before)s::bigint IS NULL
     ORDER BY block DESC, number DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT found.* FROM (SELECT block FROM blocks ORDER BY block OFFSET 0) AS oldest
     CROSS JOIN LATERAL (
         SELECT * FROM wanted WHERE number > 128 * block AND number <= 128 * block + 128 OFFSET 0
     ) AS found
     WHERE %(before)s::bigint IS NOT NULL
     ORDER BY block, number LIMIT %(limit)s)
)
SELECT as_of, head, number, page.position, amount, debits, credits, pending_debits, pending_credits, value_date, pending,
       CASE side WHEN 'D' THEN 'debit' WHEN 'C' THEN 'credit' END AS side,
       posted.stream, posted.recorded_at, posted.name AS posted_name, posted.payload AS posted_payload
FROM t
LEFT JOIN page ON true
LEFT JOIN daybook.events AS posted ON posted.position = page.position
ORDER BY number DESC;

-- entries --
-- Newest first, of one book or of all: each book's newest, and the newest of those. What is asked of postings is asked
-- of one and the same posting of the entry. Where the cursor's entry is, the log's own index of streams says.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
), start AS (
    SELECT entries.position FROM daybook.events AS first JOIN entries USING (position)
    WHERE first.stream = coalesce(%(after)s::uuid, %(before)s) AND first.version = 1 AND entry_id = first.stream
), wanted AS NOT MATERIALIZED (
    SELECT * FROM entries
    WHERE (%(recorded_at_from)s::timestamptz IS NULL
           OR position > (SELECT daybook.position_at(%(recorded_at_from)s - interval '1 microsecond')))
      AND (%(recorded_at_to)s::timestamptz IS NULL
           OR position <= (SELECT daybook.position_at(%(recorded_at_to)s)))
      AND (%(reference)s::text IS NULL OR reference = %(reference)s)
      AND (%(description_prefix)s::text IS NULL OR description ^@ %(description_prefix)s)
      AND (%(metadata)s::jsonb IS NULL OR metadata @> %(metadata)s)
      AND (%(actor)s::text IS NULL OR actor = %(actor)s)
      AND (%(kind)s::text IS NULL OR %(kind)s <> 'reversal' OR reverses IS NOT NULL)
      AND (%(kind)s::text IS NULL OR %(kind)s <> 'reversed' OR reversed_by IS NOT NULL)
      AND (%(kind)s::text IS NULL OR %(kind)s <> 'capture' OR captures IS NOT NULL)
      AND (%(kind)s::text IS NULL OR %(kind)s <> 'plain'
           OR (reverses IS NULL AND reversed_by IS NULL AND captures IS NULL))
      AND (NOT %(by_posting)s::boolean OR EXISTS (
          SELECT FROM jsonb_array_elements(postings) AS line
          WHERE (%(account)s::uuid IS NULL OR (line ->> 0)::uuid = %(account)s)
            AND (%(account_code_prefix)s::text IS NULL OR (line ->> 0)::uuid IN (
                SELECT account_id FROM accounts
                WHERE code ^@ %(account_code_prefix)s AND (%(book)s::uuid IS NULL OR accounts.book_id = %(book)s)
            ))
            AND (%(side)s::text IS NULL OR line ->> 1 = %(side)s)
            AND (%(currency)s::text IS NULL OR line ->> 3 = %(currency)s)
            AND (%(amount_min)s::bigint IS NULL OR (line ->> 2)::bigint >= %(amount_min)s)
            AND (%(amount_max)s::bigint IS NULL OR (line ->> 2)::bigint <= %(amount_max)s)
      ))
), page AS (
    (SELECT newest.* FROM books CROSS JOIN LATERAL (
        SELECT * FROM wanted
        WHERE wanted.book_id = books.book_id
          AND (%(after)s::uuid IS NULL OR position < (SELECT position FROM start))
        ORDER BY position DESC LIMIT %(limit)s
     ) AS newest
     WHERE %(before)s::uuid IS NULL AND (%(book)s::uuid IS NULL OR books.book_id = %(book)s)
     ORDER BY position DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT oldest.* FROM books CROSS JOIN LATERAL (
        SELECT * FROM wanted
        WHERE wanted.book_id = books.book_id
          AND position > (SELECT position FROM start)
        ORDER BY position LIMIT %(limit)s
     ) AS oldest
     WHERE %(before)s::uuid IS NOT NULL AND (%(book)s::uuid IS NULL OR books.book_id = %(book)s)
     ORDER BY position LIMIT %(limit)s)
)
SELECT as_of, head, entry_id, book_id, page.position, recorded_at, reverses, reversed_by, value_date, actor,
       description, reference, metadata, captures, recipe, postings, ARRAY(
           SELECT coalesce((SELECT code FROM accounts WHERE account_id = (line ->> 0)::uuid),
                           daybook.account_code((line ->> 0)::uuid))
           FROM jsonb_array_elements(postings) WITH ORDINALITY AS lines (line, n) ORDER BY n
       ) AS codes, CASE WHEN %(accounts)s::boolean THEN ARRAY(
           SELECT (SELECT to_jsonb(accounts) FROM accounts WHERE account_id = (line ->> 0)::uuid)
           FROM jsonb_array_elements(postings) WITH ORDINALITY AS lines (line, n) ORDER BY n
       ) END AS accounts
FROM t LEFT JOIN page ON true
ORDER BY page.position DESC;

-- entries_dated --
-- The same of value dates in a range: the newest of each of its days on which there are any, and the newest of those.
WITH RECURSIVE t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
), start AS (
    SELECT entries.position FROM daybook.events AS first JOIN entries USING (position)
    WHERE first.stream = coalesce(%(after)s::uuid, %(before)s) AND first.version = 1 AND entry_id = first.stream
), value_dates (book_id, day) AS (
    SELECT book_id, (
        SELECT value_date FROM entries
        WHERE entries.book_id = books.book_id
          AND (%(value_date_from)s::date IS NULL OR value_date >= %(value_date_from)s)
        ORDER BY value_date LIMIT 1
    )
    FROM books WHERE %(book)s::uuid IS NULL OR book_id = %(book)s
    UNION ALL
    SELECT book_id, (
        SELECT value_date FROM entries
        WHERE entries.book_id = value_dates.book_id AND value_date > day
        ORDER BY value_date LIMIT 1
    )
    FROM value_dates WHERE day IS NOT NULL AND (%(value_date_to)s::date IS NULL OR day < %(value_date_to)s)
), wanted AS NOT MATERIALIZED (
    SELECT * FROM entries
    WHERE (%(value_date_to)s::date IS NULL OR value_date <= %(value_date_to)s)
      AND (%(recorded_at_from)s::timestamptz IS NULL
           OR position > (SELECT daybook.position_at(%(recorded_at_from)s - interval '1 microsecond')))
      AND (%(recorded_at_to)s::timestamptz IS NULL
           OR position <= (SELECT daybook.position_at(%(recorded_at_to)s)))
      AND (%(reference)s::text IS NULL OR reference = %(reference)s)
      AND (%(description_prefix)s::text IS NULL OR description ^@ %(description_prefix)s)
      AND (%(metadata)s::jsonb IS NULL OR metadata @> %(metadata)s)
      AND (%(actor)s::text IS NULL OR actor = %(actor)s)
      AND (%(kind)s::text IS NULL OR %(kind)s <> 'reversal' OR reverses IS NOT NULL)
      AND (%(kind)s::text IS NULL OR %(kind)s <> 'reversed' OR reversed_by IS NOT NULL)
      AND (%(kind)s::text IS NULL OR %(kind)s <> 'capture' OR captures IS NOT NULL)
      AND (%(kind)s::text IS NULL OR %(kind)s <> 'plain'
           OR (reverses IS NULL AND reversed_by IS NULL AND captures IS NULL))
      AND (NOT %(by_posting)s::boolean OR EXISTS (
          SELECT FROM jsonb_array_elements(postings) AS line
          WHERE (%(account)s::uuid IS NULL OR (line ->> 0)::uuid = %(account)s)
            AND (%(account_code_prefix)s::text IS NULL OR (line ->> 0)::uuid IN (
                SELECT account_id FROM accounts
                WHERE code ^@ %(account_code_prefix)s AND (%(book)s::uuid IS NULL OR accounts.book_id = %(book)s)
            ))
            AND (%(side)s::text IS NULL OR line ->> 1 = %(side)s)
            AND (%(currency)s::text IS NULL OR line ->> 3 = %(currency)s)
            AND (%(amount_min)s::bigint IS NULL OR (line ->> 2)::bigint >= %(amount_min)s)
            AND (%(amount_max)s::bigint IS NULL OR (line ->> 2)::bigint <= %(amount_max)s)
      ))
), found AS (
    (SELECT of_day.* FROM value_dates CROSS JOIN LATERAL (
        SELECT book_id, position FROM wanted
        WHERE wanted.book_id = value_dates.book_id AND wanted.value_date = day
          AND (%(after)s::uuid IS NULL OR position < (SELECT position FROM start))
        ORDER BY position DESC LIMIT %(limit)s
     ) AS of_day
     WHERE %(before)s::uuid IS NULL
     ORDER BY position DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT of_day.* FROM value_dates CROSS JOIN LATERAL (
        SELECT book_id, position FROM wanted
        WHERE wanted.book_id = value_dates.book_id AND wanted.value_date = day
          AND position > (SELECT position FROM start)
        ORDER BY position LIMIT %(limit)s
     ) AS of_day
     WHERE %(before)s::uuid IS NOT NULL
     ORDER BY position LIMIT %(limit)s)
), page AS (
    SELECT entries.* FROM found JOIN entries USING (book_id, position)
)
SELECT as_of, head, entry_id, book_id, page.position, recorded_at, reverses, reversed_by, value_date, actor,
       description, reference, metadata, captures, recipe, postings, ARRAY(
           SELECT coalesce((SELECT code FROM accounts WHERE account_id = (line ->> 0)::uuid),
                           daybook.account_code((line ->> 0)::uuid))
           FROM jsonb_array_elements(postings) WITH ORDINALITY AS lines (line, n) ORDER BY n
       ) AS codes, CASE WHEN %(accounts)s::boolean THEN ARRAY(
           SELECT (SELECT to_jsonb(accounts) FROM accounts WHERE account_id = (line ->> 0)::uuid)
           FROM jsonb_array_elements(postings) WITH ORDINALITY AS lines (line, n) ORDER BY n
       ) END AS accounts
FROM t LEFT JOIN page ON true
ORDER BY page.position DESC;

-- entries_of_account --
-- Newest first. The account's posting numbers lead the way, in blocks of 128 as far as the page needs: all blocks, or
-- of value dates in a range those that have any, as far as the read model of days knows. Positions grow with the
-- numbers, and an entry that posts to the account more than once is next to itself. What is only set aside is no entry.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
), start AS (
    SELECT entries.position FROM daybook.events AS first JOIN entries USING (position)
    WHERE first.stream = coalesce(%(after)s::uuid, %(before)s) AND first.version = 1 AND entry_id = first.stream
), reach AS MATERIALIZED (
    SELECT daybook.number_at(%(account)s, greatest(
               CASE WHEN %(before)s::uuid IS NOT NULL
                    THEN coalesce((SELECT position FROM start), (SELECT head FROM t)) END,
               daybook.position_at(%(recorded_at_from)s::timestamptz - interval '1 microsecond'), 0)) AS low,
           daybook.number_at(%(account)s, least(
               CASE WHEN %(after)s::uuid IS NOT NULL
                    THEN coalesce((SELECT position - 1 FROM start), 0) END,
               CASE WHEN %(recorded_at_to)s::timestamptz IS NOT NULL THEN daybook.position_at(%(recorded_at_to)s) END,
               (SELECT as_of FROM t))) AS high,
           %(value_date_from)s::date IS NOT NULL OR %(value_date_to)s::date IS NOT NULL AS dated,
           coalesce((SELECT postings / 128 FROM balances WHERE account_id = %(account)s), 0) AS full_blocks
), blocks AS NOT MATERIALIZED (
    SELECT DISTINCT block FROM days
    WHERE (SELECT dated FROM reach) AND account_id = %(account)s
      AND (%(value_date_from)s::date IS NULL OR value_date >= %(value_date_from)s)
      AND (%(value_date_to)s::date IS NULL OR value_date <= %(value_date_to)s)
      AND block >= (SELECT low / 128 FROM reach) AND block <= (SELECT (high - 1) / 128 FROM reach)
    UNION ALL
    SELECT generate_series(CASE WHEN dated THEN greatest(full_blocks, low / 128) ELSE low / 128 END, (high - 1) / 128)
    FROM reach
), wanted AS NOT MATERIALIZED (
    SELECT * FROM entries
    WHERE (%(value_date_from)s::date IS NULL OR value_date >= %(value_date_from)s)
      AND (%(value_date_to)s::date IS NULL OR value_date <= %(value_date_to)s)
      AND (%(reference)s::text IS NULL OR reference = %(reference)s)
      AND (%(description_prefix)s::text IS NULL OR description ^@ %(description_prefix)s)
      AND (%(metadata)s::jsonb IS NULL OR metadata @> %(metadata)s)
      AND (%(actor)s::text IS NULL OR actor = %(actor)s)
      AND (%(kind)s::text IS NULL OR %(kind)s <> 'reversal' OR reverses IS NOT NULL)
      AND (%(kind)s::text IS NULL OR %(kind)s <> 'reversed' OR reversed_by IS NOT NULL)
      AND (%(kind)s::text IS NULL OR %(kind)s <> 'capture' OR captures IS NOT NULL)
      AND (%(kind)s::text IS NULL OR %(kind)s <> 'plain'
           OR (reverses IS NULL AND reversed_by IS NULL AND captures IS NULL))
      AND (NOT %(by_posting)s::boolean OR EXISTS (
          SELECT FROM jsonb_array_elements(postings) AS line
          WHERE (%(account)s::uuid IS NULL OR (line ->> 0)::uuid = %(account)s)
            AND (%(account_code_prefix)s::text IS NULL OR (line ->> 0)::uuid IN (
                SELECT account_id FROM accounts
                WHERE code ^@ %(account_code_prefix)s AND (%(book)s::uuid IS NULL OR accounts.book_id = %(book)s)
            ))
            AND (%(side)s::text IS NULL OR line ->> 1 = %(side)s)
            AND (%(currency)s::text IS NULL OR line ->> 3 = %(currency)s)
            AND (%(amount_min)s::bigint IS NULL OR (line ->> 2)::bigint >= %(amount_min)s)
            AND (%(amount_max)s::bigint IS NULL OR (line ->> 2)::bigint <= %(amount_max)s)
      ))
), page AS (
    (SELECT found.* FROM (SELECT block FROM blocks ORDER BY block DESC OFFSET 0) AS newest
     CROSS JOIN LATERAL (
         SELECT number, position FROM daybook.postings
         WHERE account = %(account)s AND number > 128 * block AND number <= 128 * block + 128
           AND number > (SELECT low FROM reach) AND number <= (SELECT high FROM reach) AND NOT pending
           AND position IS DISTINCT FROM (
               SELECT position FROM daybook.postings AS next
               WHERE next.account = %(account)s AND next.number = postings.number + 1
           )
         OFFSET 0
     ) AS numbered
     CROSS JOIN LATERAL (
         SELECT * FROM wanted WHERE wanted.book_id = (SELECT book_id FROM accounts WHERE account_id = %(account)s)
           AND wanted.position = numbered.position OFFSET 0
     ) AS found
     WHERE %(before)s::uuid IS NULL AND (%(book)s::uuid IS NULL OR found.book_id = %(book)s)
     ORDER BY block DESC, number DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT found.* FROM (SELECT block FROM blocks ORDER BY block OFFSET 0) AS oldest
     CROSS JOIN LATERAL (
         SELECT number, position FROM daybook.postings
         WHERE account = %(account)s AND number > 128 * block AND number <= 128 * block + 128
           AND number > (SELECT low FROM reach) AND number <= (SELECT high FROM reach) AND NOT pending
           AND position IS DISTINCT FROM (
               SELECT position FROM daybook.postings AS next
               WHERE next.account = %(account)s AND next.number = postings.number + 1
           )
         OFFSET 0
     ) AS numbered
     CROSS JOIN LATERAL (
         SELECT * FROM wanted WHERE wanted.book_id = (SELECT book_id FROM accounts WHERE account_id = %(account)s)
           AND wanted.position = numbered.position OFFSET 0
     ) AS found
     WHERE %(before)s::uuid IS NOT NULL AND (%(book)s::uuid IS NULL OR found.book_id = %(book)s)
     ORDER BY block, number LIMIT %(limit)s)
)
SELECT as_of, head, entry_id, book_id, page.position, recorded_at, reverses, reversed_by, value_date, actor,
       description, reference, metadata, captures, recipe, postings, ARRAY(
           SELECT coalesce((SELECT code FROM accounts WHERE account_id = (line ->> 0)::uuid),
                           daybook.account_code((line ->> 0)::uuid))
           FROM jsonb_array_elements(postings) WITH ORDINALITY AS lines (line, n) ORDER BY n
       ) AS codes, CASE WHEN %(accounts)s::boolean THEN ARRAY(
           SELECT (SELECT to_jsonb(accounts) FROM accounts WHERE account_id = (line ->> 0)::uuid)
           FROM jsonb_array_elements(postings) WITH ORDINALITY AS lines (line, n) ORDER BY n
       ) END AS accounts
FROM t LEFT JOIN page ON true
ORDER BY page.position DESC;

-- entry --
-- One, by its id: where it is, the log's own index of streams says.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
)
SELECT as_of, head, entry_id, book_id, position, recorded_at, reverses, reversed_by, value_date, actor,
       description, reference, metadata, captures, recipe, postings, ARRAY(
           SELECT coalesce((SELECT code FROM accounts WHERE account_id = (line ->> 0)::uuid),
                           daybook.account_code((line ->> 0)::uuid))
           FROM jsonb_array_elements(postings) WITH ORDINALITY AS lines (line, n) ORDER BY n
       ) AS codes
FROM t
LEFT JOIN entries
    ON position = (SELECT position FROM daybook.events WHERE stream = %(entry)s AND version = 1)
    AND entry_id = %(entry)s;

-- holds --
-- Newest first, of one book or account or of all.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
), page AS (
    (SELECT * FROM holds
     WHERE %(before)s::uuid IS NULL
       AND (%(after)s::uuid IS NULL OR position < (SELECT position FROM holds WHERE hold_id = %(after)s))
       AND (%(book)s::uuid IS NULL OR book_id = %(book)s)
       AND (%(account)s::uuid IS NULL OR account_id = %(account)s)
       AND (%(status)s::text IS NULL OR status = %(status)s)
     ORDER BY position DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT * FROM holds
     WHERE %(before)s::uuid IS NOT NULL
       AND position > (SELECT position FROM holds WHERE hold_id = %(before)s)
       AND (%(book)s::uuid IS NULL OR book_id = %(book)s)
       AND (%(account)s::uuid IS NULL OR account_id = %(account)s)
       AND (%(status)s::text IS NULL OR status = %(status)s)
     ORDER BY position LIMIT %(limit)s)
)
SELECT as_of, head, hold_id, page.book_id, page.account_id,
       coalesce(source.code, daybook.account_code(page.account_id)) AS account_code, destination_id,
       coalesce(destination.code, daybook.account_code(destination_id)) AS destination_code, page.status, amount,
       captured, remaining, page.currency, expires_at,
       actor, recorded_at, description, reference, page.metadata, page.version, changed
FROM t
LEFT JOIN page ON true
LEFT JOIN accounts AS source ON source.account_id = page.account_id
LEFT JOIN accounts AS destination ON destination.account_id = destination_id
ORDER BY page.position DESC;

-- hold --
-- One, by its id.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
)
SELECT as_of, head, hold_id, holds.book_id, holds.account_id,
       coalesce(source.code, daybook.account_code(holds.account_id)) AS account_code, destination_id,
       coalesce(destination.code, daybook.account_code(destination_id)) AS destination_code, holds.status, amount,
       captured, remaining, holds.currency, expires_at,
       actor, recorded_at, description, reference, holds.metadata, holds.version, changed
FROM t
LEFT JOIN holds ON hold_id = %(hold)s
LEFT JOIN accounts AS source ON source.account_id = holds.account_id
LEFT JOIN accounts AS destination ON destination.account_id = destination_id;

-- holds_due --
-- Those whose time has come or soon will, first come first, and how many seconds that is from now: by the clock of the
-- database alone, which also decides. Those already asked to end are left out: they stay until the read model is told.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
)
SELECT as_of, head, hold_id, extract(epoch FROM expires_at - now())::float8 AS due_in_s
FROM t
LEFT JOIN holds
    ON status = 'held' AND expires_at <= now() + %(within_s)s * interval '1 second'
    AND hold_id <> ALL (%(asked)s::uuid[])
ORDER BY expires_at LIMIT %(limit)s;

-- payments --
-- Newest first, with what rails were asked for each. Few are in any status but succeeded, few wait for a rail, and few
-- are contradicted: those are indexed apart.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
), wanted AS NOT MATERIALIZED (
    SELECT * FROM payments
    WHERE (%(book)s::uuid IS NULL OR book_id = %(book)s)
      AND (%(account)s::uuid IS NULL OR account_id = %(account)s)
      AND (%(status)s::text IS NULL OR status = %(status)s)
      AND (%(status)s::text IS NULL OR %(status)s = 'succeeded' OR status <> 'succeeded')
      AND (%(direction)s::text IS NULL OR direction = %(direction)s)
      AND (%(rail)s::text IS NULL OR rail = %(rail)s)
      AND (%(route)s::text IS NULL OR route = %(route)s)
      AND (%(method)s::text IS NULL OR method ->> 'type' = %(method)s)
      AND (%(last4)s::text IS NULL OR (method ? 'last4' AND method ->> 'last4' = %(last4)s))
      AND (%(declined)s::text IS NULL OR declined = %(declined)s)
      AND (%(needs_attention)s::boolean IS NULL OR payment_id = ANY (ARRAY(
          SELECT payment_id FROM payments WHERE contradicted
          UNION
          SELECT payment_id FROM payment_requests
          WHERE state = 'unknown' AND state IN ('requested', 'unknown', 'accepted')
            AND coalesce(answered_at, requested_at) <= now() - %(unknown_for_s)s * interval '1 second'
      )))
      AND (%(contradicted)s::boolean IS NULL
           OR (contradicted AND %(contradicted)s) OR (NOT contradicted AND NOT %(contradicted)s))
      AND (%(request_state)s::text IS NULL OR payment_id = ANY (ARRAY(
          SELECT payment_id FROM payment_requests
          WHERE state = %(request_state)s AND state IN ('requested', 'unknown', 'accepted')
      )))
      AND (%(reference)s::text IS NULL OR reference = %(reference)s)
      AND (%(rail_reference)s::text IS NULL OR payment_id = ANY (ARRAY(
          SELECT payment_id FROM payment_requests WHERE reference = %(rail_reference)s
      )))
      AND (%(maker)s::text IS NULL OR maker = %(maker)s)
      AND (%(currency)s::text IS NULL OR currency = %(currency)s)
      AND (%(amount_min)s::bigint IS NULL OR amount >= %(amount_min)s)
      AND (%(amount_max)s::bigint IS NULL OR amount <= %(amount_max)s)
      AND (%(created_from)s::timestamptz IS NULL
           OR position > (SELECT daybook.position_at(%(created_from)s - interval '1 microsecond')))
      AND (%(created_to)s::timestamptz IS NULL OR position <= (SELECT daybook.position_at(%(created_to)s)))
), page AS (
    (SELECT * FROM wanted
     WHERE %(before)s::uuid IS NULL
       AND (%(after)s::uuid IS NULL OR position < (SELECT position FROM payments WHERE payment_id = %(after)s))
     ORDER BY position DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT * FROM wanted
     WHERE %(before)s::uuid IS NOT NULL
       AND position > (SELECT position FROM payments WHERE payment_id = %(before)s)
     ORDER BY position LIMIT %(limit)s)
)
SELECT as_of, head, payment_id, page.book_id, page.account_id,
       coalesce(accounts.code, daybook.account_code(page.account_id)) AS account_code, direction, page.status,
       amount, page.currency, authorized, captured, refunded, reversed, returned, disputed, capture, rail, route,
       method, action, declined, contradicted, approvals, approvers, approved, validation, expires_at, lapses_at,
       description, reference, descriptor, page.metadata, maker, created_at, changed_at,
       page.version, changed,
       ARRAY(
           SELECT to_jsonb(q) FROM payment_requests AS q WHERE q.payment_id = page.payment_id ORDER BY q.position
       ) AS requests,
       ARRAY(
           SELECT to_jsonb(d) FROM disputes AS d WHERE d.payment_id = page.payment_id ORDER BY d.position
       ) AS disputes
FROM t
LEFT JOIN page ON true
LEFT JOIN accounts ON accounts.account_id = page.account_id
ORDER BY page.position DESC;

-- payment --
-- One, by its id.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
)
SELECT as_of, head, payment_id, payments.book_id, payments.account_id,
       coalesce(accounts.code, daybook.account_code(payments.account_id)) AS account_code, direction, payments.status,
       amount, payments.currency, authorized, captured, refunded, reversed, returned, disputed, capture, rail, route,
       method, action, declined, contradicted, approvals, approvers, approved, validation, expires_at, lapses_at,
       description, reference, descriptor, payments.metadata, maker, created_at, changed_at,
       payments.version, changed,
       ARRAY(
           SELECT to_jsonb(q) FROM payment_requests AS q WHERE q.payment_id = payments.payment_id ORDER BY q.position
       ) AS requests,
       ARRAY(
           SELECT to_jsonb(d) FROM disputes AS d WHERE d.payment_id = payments.payment_id ORDER BY d.position
       ) AS disputes
FROM t
LEFT JOIN payments ON payment_id = %(payment)s
LEFT JOIN accounts ON accounts.account_id = payments.account_id;

-- operations --
-- What rails were asked for payments, newest first: of each operation in question its newest, and of these the newest.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
), wanted AS NOT MATERIALIZED (
    SELECT * FROM payment_requests
    WHERE (%(book)s::uuid IS NULL OR book_id = %(book)s)
      AND (%(account)s::uuid IS NULL OR account_id = %(account)s)
      AND (%(rail)s::text IS NULL OR rail = %(rail)s)
      AND (%(route)s::text IS NULL OR route = %(route)s)
      AND (%(state)s::text IS NULL OR state = %(state)s)
      AND (%(state)s::text IS NULL OR %(state)s IN ('done', 'failed') OR state IN ('requested', 'unknown', 'accepted'))
      AND (%(declined)s::text IS NULL OR declined = %(declined)s)
      AND (%(reference)s::text IS NULL OR reference = %(reference)s)
      AND (%(created_from)s::timestamptz IS NULL
           OR position > (SELECT daybook.position_at(%(created_from)s - interval '1 microsecond')))
      AND (%(created_to)s::timestamptz IS NULL OR position <= (SELECT daybook.position_at(%(created_to)s)))
), page AS (
    (SELECT newest.* FROM unnest(%(operations)s::text[]) AS of (asked)
     CROSS JOIN LATERAL (
         SELECT * FROM wanted
         WHERE %(before)s::text IS NULL AND operation = asked
           AND (%(after)s::text IS NULL
                OR position < (SELECT position FROM payment_requests WHERE request_id = %(after)s))
         ORDER BY position DESC LIMIT %(limit)s
     ) AS newest
     ORDER BY position DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT next.* FROM unnest(%(operations)s::text[]) AS of (asked)
     CROSS JOIN LATERAL (
         SELECT * FROM wanted
         WHERE %(before)s::text IS NOT NULL AND operation = asked
           AND position > (SELECT position FROM payment_requests WHERE request_id = %(before)s)
         ORDER BY position LIMIT %(limit)s
     ) AS next
     ORDER BY position LIMIT %(limit)s)
)
SELECT as_of, head, request_id, to_jsonb(page) AS request, payments.currency, action ->> 'expires_at' AS until,
       coalesce(code_of.code, daybook.account_code(page.account_id)) AS account_code
FROM t
LEFT JOIN page ON true
LEFT JOIN payments USING (payment_id)
LEFT JOIN accounts AS code_of ON code_of.account_id = page.account_id
ORDER BY page.position DESC;

-- operation --
-- One, by its request id.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
)
SELECT as_of, head, request_id, to_jsonb(q) AS request, payments.currency, action ->> 'expires_at' AS until,
       coalesce(accounts.code, daybook.account_code(q.account_id)) AS account_code
FROM t
LEFT JOIN payment_requests AS q ON request_id = %(request)s AND operation = ANY (%(operations)s::text[])
LEFT JOIN payments USING (payment_id)
LEFT JOIN accounts ON accounts.account_id = q.account_id;

-- story --
-- What happened to one thing up to a position, in its order: from the log alone.
SELECT head AS as_of, head, position, stream, version, name, recorded_at, metadata, payload, NULL AS scope_opened
FROM (SELECT daybook.head() AS head) AS log
LEFT JOIN daybook.events ON stream = %(stream)s AND position <= %(until)s::bigint
ORDER BY version;

-- holds_of --
-- Some, by their ids, in the order in which they were placed.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
)
SELECT as_of, head, hold_id, holds.book_id, holds.account_id,
       coalesce(source.code, daybook.account_code(holds.account_id)) AS account_code, destination_id,
       coalesce(destination.code, daybook.account_code(destination_id)) AS destination_code, holds.status, amount,
       captured, remaining, holds.currency, expires_at,
       actor, recorded_at, description, reference, holds.metadata, holds.version, changed
FROM t
LEFT JOIN holds ON hold_id = ANY (%(holds)s::uuid[])
LEFT JOIN accounts AS source ON source.account_id = holds.account_id
LEFT JOIN accounts AS destination ON destination.account_id = destination_id
ORDER BY holds.position;

-- entries_of --
-- Some, by their ids, in the order in which they were posted: where they are, the log's own index of streams says.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
)
SELECT as_of, head, entry_id, book_id, position, recorded_at, reverses, reversed_by, value_date, actor,
       description, reference, metadata, captures, recipe, postings, ARRAY(
           SELECT coalesce((SELECT code FROM accounts WHERE account_id = (line ->> 0)::uuid),
                           daybook.account_code((line ->> 0)::uuid))
           FROM jsonb_array_elements(postings) WITH ORDINALITY AS lines (line, n) ORDER BY n
       ) AS codes
FROM t
LEFT JOIN entries
    ON position = ANY (ARRAY(
        SELECT position FROM daybook.events WHERE stream = ANY (%(entries)s::uuid[]) AND version = 1
    ))
    AND entry_id = ANY (%(entries)s::uuid[])
ORDER BY position;

-- payments_due --
-- What payments wait for that Daybook itself may be due to do, by `kind`: `attempt`, an attempt is to be started or
-- given up, or the payment expired; `request`, a rail has still to answer; `expire`, its time has come and no rail is
-- asked. By position from after `after` on: whoever gets as many as `limit` goes on from the last one, so that many that
-- only wait cannot keep others from being seen.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
), due AS (
    (SELECT 'attempt' AS kind, payment_id, position, changed_at AS since, NULL AS request_id, NULL AS operation,
            rail, route, NULL AS state
     FROM payments
     WHERE status = 'processing' AND status <> 'succeeded' AND position > %(after)s::bigint
       AND NOT EXISTS (
           SELECT FROM payment_requests AS q
           WHERE q.payment_id = payments.payment_id AND state IN ('requested', 'unknown', 'accepted')
       )
     ORDER BY position LIMIT %(limit)s)
    UNION ALL
    (SELECT 'expire', payment_id, position, expires_at, NULL, NULL, rail, route, NULL
     FROM payments
     WHERE expires_at <= now() AND status NOT IN ('succeeded', 'partially_captured', 'canceled', 'expired')
       AND position > %(after)s::bigint
       AND NOT EXISTS (
           SELECT FROM payment_requests AS q
           WHERE q.payment_id = payments.payment_id AND state IN ('requested', 'unknown', 'accepted')
       )
     ORDER BY position LIMIT %(limit)s)
    UNION ALL
    (SELECT 'expire', payment_id, position, lapses_at, NULL, NULL, rail, route, NULL
     FROM payments
     WHERE lapses_at <= now() AND status IN ('requires_payment_method', 'requires_confirmation', 'requires_approval')
       AND position > %(after)s::bigint
     ORDER BY position LIMIT %(limit)s)
    UNION ALL
    (SELECT 'request', open.*
     FROM (VALUES ('requested'), ('unknown'), ('accepted')) AS states (wanted)
     CROSS JOIN LATERAL (
         SELECT payment_id, position, coalesce(answered_at, requested_at), request_id, operation, rail, route, state
         FROM payment_requests
         WHERE state = wanted AND state IN ('requested', 'unknown', 'accepted') AND position > %(after)s::bigint
         ORDER BY position LIMIT %(limit)s
     ) AS open)
)
SELECT as_of, head, kind, payment_id, due.position, request_id, operation, rail, route, state,
       greatest(extract(epoch FROM now() - since), 0)::float8 AS age_s
FROM t LEFT JOIN due ON true
ORDER BY due.position LIMIT %(limit)s;

-- payments_asked --
-- Whose the requests are that a rail names so: by their ids or, by ACH, by the end of the reference, which is all of them
-- that a return carries back. Those of the ACH that have no reference yet are there without a name.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
), asked AS (
    SELECT request_id AS named, request_id, payment_id, state
    FROM payment_requests WHERE request_id = ANY (%(requests)s::text[])
    UNION ALL
    SELECT right(reference, 15), request_id, payment_id, state
    FROM payment_requests WHERE rail = 'ach' AND right(reference, 15) = ANY (%(requests)s::text[])
    UNION ALL
    SELECT NULL, request_id, payment_id, state
    FROM payment_requests
    WHERE rail = 'ach' AND reference IS NULL AND state <> 'failed' AND %(rail)s::text = 'ach' AND route = %(route)s
)
SELECT as_of, head, named, request_id, asked.payment_id, state, book_id, currency
FROM t
LEFT JOIN asked ON true
LEFT JOIN payments ON payments.payment_id = asked.payment_id;

-- settled_until --
-- The last day of a route that was recorded, and when the route was first asked for anything.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
)
SELECT as_of, head,
       (SELECT max(day) FROM settlements WHERE rail = %(rail)s AND route = %(route)s) AS day,
       (SELECT requested_at FROM payment_requests
        WHERE route = %(route)s AND rail = %(rail)s AND upon IS NULL
        ORDER BY position LIMIT 1) AS requested_at
FROM t;

-- settlements --
-- Newest first. Those with breaks are few, and indexed apart.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
), wanted AS NOT MATERIALIZED (
    SELECT * FROM settlements
    WHERE (%(book)s::uuid IS NULL OR book_id = %(book)s)
      AND (%(rail)s::text IS NULL OR rail = %(rail)s)
      AND (%(route)s::text IS NULL OR route = %(route)s)
      AND (%(currency)s::text IS NULL OR currency = %(currency)s)
      AND (%(day_from)s::date IS NULL OR day >= %(day_from)s)
      AND (%(day_to)s::date IS NULL OR day <= %(day_to)s)
      AND (%(broken)s::boolean IS NULL OR (broken > 0 AND %(broken)s) OR (broken = 0 AND NOT %(broken)s))
), page AS (
    (SELECT * FROM wanted
     WHERE %(before)s::uuid IS NULL
       AND (%(after)s::uuid IS NULL OR position < (SELECT position FROM settlements WHERE settlement_id = %(after)s))
     ORDER BY position DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT * FROM wanted
     WHERE %(before)s::uuid IS NOT NULL
       AND position > (SELECT position FROM settlements WHERE settlement_id = %(before)s)
     ORDER BY position LIMIT %(limit)s)
)
SELECT as_of, head, page.*
FROM t LEFT JOIN page ON true
ORDER BY position DESC;

-- settlement --
-- One, by its id.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
)
SELECT as_of, head, settlements.*
FROM t LEFT JOIN settlements ON settlement_id = %(settlement)s;

-- disputes --
-- Newest first, with whose payment each is upon. Those that need an answer are few, and indexed by when it is due.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
), wanted AS NOT MATERIALIZED (
    SELECT disputes.*, payments.book_id, payments.account_id, payments.currency, payments.rail, payments.route
    FROM disputes JOIN payments USING (payment_id)
    WHERE (%(book)s::uuid IS NULL OR payments.book_id = %(book)s)
      AND (%(account)s::uuid IS NULL OR payments.account_id = %(account)s)
      AND (%(rail)s::text IS NULL OR payments.rail = %(rail)s)
      AND (%(state)s::text IS NULL OR state = %(state)s)
      AND (%(state)s::text IS NULL OR %(state)s <> 'needs_response' OR state = 'needs_response')
      AND (%(respond_before)s::timestamptz IS NULL OR respond_by < %(respond_before)s)
), page AS (
    (SELECT * FROM wanted
     WHERE %(before)s::uuid IS NULL
       AND (%(after)s::uuid IS NULL OR position < (SELECT position FROM disputes WHERE dispute_id = %(after)s))
     ORDER BY position DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT * FROM wanted
     WHERE %(before)s::uuid IS NOT NULL
       AND position > (SELECT position FROM disputes WHERE dispute_id = %(before)s)
     ORDER BY position LIMIT %(limit)s)
)
SELECT as_of, head, page.*, coalesce(code_of.code, daybook.account_code(page.account_id)) AS account_code
FROM t
LEFT JOIN page ON true
LEFT JOIN accounts AS code_of ON code_of.account_id = page.account_id
ORDER BY page.position DESC;

-- dispute --
-- One, by its id.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
)
SELECT as_of, head, disputes.*, payments.book_id, payments.account_id, payments.currency, payments.rail,
       payments.route, coalesce(accounts.code, daybook.account_code(payments.account_id)) AS account_code
FROM t
LEFT JOIN disputes ON dispute_id = %(dispute)s
LEFT JOIN payments USING (payment_id)
LEFT JOIN accounts ON accounts.account_id = payments.account_id;

-- escrows --
-- Newest first, with their parts. What is waited for is of those that are open, which are few.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
), wanted AS NOT MATERIALIZED (
    SELECT * FROM escrows
    WHERE (%(book)s::uuid IS NULL OR book_id = %(book)s)
      AND (%(depositor)s::uuid IS NULL OR depositor_id = %(depositor)s)
      AND (%(beneficiary)s::uuid IS NULL OR beneficiary_id = %(beneficiary)s)
      AND (%(status)s::text IS NULL OR status = %(status)s)
      AND (%(reference)s::text IS NULL OR reference = %(reference)s)
      AND (%(expires_before)s::timestamptz IS NULL
           OR (expires_at < %(expires_before)s AND status IN ('funded', 'partially_released')))
      AND (%(waits_for_condition)s::text IS NULL
           OR (status IN ('funded', 'partially_released')
               AND NOT met ? %(waits_for_condition)s::text
               AND EXISTS (
                   SELECT FROM escrow_parts AS p
                   WHERE p.escrow_id = escrows.escrow_id AND p.amount > p.released + p.returned
                     AND p.conditions ? %(waits_for_condition)s::text
               )))
      AND (%(waits_for_approver)s::text IS NULL
           OR (status IN ('funded', 'partially_released')
               AND maker <> %(waits_for_approver)s
               AND EXISTS (
                   SELECT FROM escrow_parts AS p
                   WHERE p.escrow_id = escrows.escrow_id AND p.amount > p.released + p.returned
                     AND p.approvers ? %(waits_for_approver)s::text AND NOT p.approved ? %(waits_for_approver)s::text
                     AND jsonb_array_length(p.approved) < p.approvals
               )))
), page AS (
    (SELECT * FROM wanted
     WHERE %(before)s::uuid IS NULL
       AND (%(after)s::uuid IS NULL OR position < (SELECT position FROM escrows WHERE escrow_id = %(after)s))
     ORDER BY position DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT * FROM wanted
     WHERE %(before)s::uuid IS NOT NULL
       AND position > (SELECT position FROM escrows WHERE escrow_id = %(before)s)
     ORDER BY position LIMIT %(limit)s)
)
SELECT as_of, head, escrow_id, page.book_id, depositor_id,
       coalesce(depositor.code, daybook.account_code(depositor_id)) AS depositor_code, beneficiary_id,
       coalesce(beneficiary.code, daybook.account_code(beneficiary_id)) AS beneficiary_code, page.status, amount,
       released, returned, suspended, page.currency,
       expires_at, on_expiry, conditions, met, return_terms, returns, maker, description, reference, page.metadata,
       created_at, changed_at, page.version, changed,
       ARRAY(SELECT to_jsonb(p) FROM escrow_parts AS p WHERE p.escrow_id = page.escrow_id ORDER BY p.number) AS parts
FROM t
LEFT JOIN page ON true
LEFT JOIN accounts AS depositor ON depositor.account_id = depositor_id
LEFT JOIN accounts AS beneficiary ON beneficiary.account_id = beneficiary_id
ORDER BY page.position DESC;

-- escrow --
-- One, by its id.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
)
SELECT as_of, head, escrow_id, escrows.book_id, depositor_id,
       coalesce(depositor.code, daybook.account_code(depositor_id)) AS depositor_code, beneficiary_id,
       coalesce(beneficiary.code, daybook.account_code(beneficiary_id)) AS beneficiary_code, escrows.status, amount,
       released, returned, suspended, escrows.currency,
       expires_at, on_expiry, conditions, met, return_terms, returns, maker, description, reference, escrows.metadata,
       created_at, changed_at, escrows.version, changed,
       ARRAY(SELECT to_jsonb(p) FROM escrow_parts AS p WHERE p.escrow_id = escrows.escrow_id ORDER BY p.number) AS parts
FROM t
LEFT JOIN escrows ON escrow_id = %(escrow)s
LEFT JOIN accounts AS depositor ON depositor.account_id = depositor_id
LEFT JOIN accounts AS beneficiary ON beneficiary.account_id = beneficiary_id;

-- escrows_due --
-- As of holds: those whose time has come or soon will, by the clock of the database.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
)
SELECT as_of, head, escrow_id, extract(epoch FROM expires_at - now())::float8 AS due_in_s
FROM t
LEFT JOIN escrows
    ON status IN ('funded', 'partially_released') AND expires_at <= now() + %(within_s)s * interval '1 second'
    AND escrow_id <> ALL (%(asked)s::uuid[])
ORDER BY expires_at LIMIT %(limit)s;

-- audit_trail --
-- Newest first. What happened to one thing, its own events and the refused commands upon it, is found by the log's own
-- index of streams and the few scopes; the first event of a scope says what kind of thing it is. Long texts are
-- indexed by their hashes.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
), wanted AS NOT MATERIALIZED (
    SELECT * FROM audit_trail
    WHERE (%(book)s::uuid IS NULL OR book_id = %(book)s)
      AND (%(actor)s::text IS NULL OR actor = %(actor)s)
      AND (%(refused)s::boolean IS NULL OR (refusal IS NOT NULL) = %(refused)s)
      AND (%(refusal)s::text IS NULL OR refusal = %(refusal)s)
      AND (%(command)s::text IS NULL OR command = %(command)s)
      AND (%(event)s::text IS NULL OR event = %(event)s)
      AND (%(kind)s::text IS NULL OR event ^@ (%(kind)s || '.'))
      AND (%(kind)s::text IS NULL OR %(kind)s = 'journal_entry' OR event <> 'journal_entry.posted.v1')
      AND (%(request_id)s::text IS NULL
           OR (hashtext(request_id) = hashtext(%(request_id)s) AND request_id = %(request_id)s))
      AND (%(correlation_id)s::text IS NULL
           OR (hashtext(correlation_id) = hashtext(%(correlation_id)s) AND correlation_id = %(correlation_id)s))
      AND (%(idempotency_key)s::text IS NULL
           OR (hashtext(idempotency_key) = hashtext(%(idempotency_key)s) AND idempotency_key = %(idempotency_key)s))
      AND (%(recorded_at_from)s::timestamptz IS NULL
           OR position > (SELECT daybook.position_at(%(recorded_at_from)s - interval '1 microsecond')))
      AND (%(recorded_at_to)s::timestamptz IS NULL
           OR position <= (SELECT daybook.position_at(%(recorded_at_to)s)))
      AND (%(position_from)s::bigint IS NULL OR position >= %(position_from)s)
      AND (%(position_to)s::bigint IS NULL OR position <= %(position_to)s)
      AND (%(stream)s::uuid IS NULL OR position = ANY (ARRAY(
          SELECT position FROM daybook.events WHERE stream = %(stream)s
          UNION ALL
          SELECT position FROM audit_trail WHERE scope = %(stream)s
      )))
), page AS (
    (SELECT * FROM wanted
     WHERE %(before)s::bigint IS NULL AND (%(after)s::bigint IS NULL OR position < %(after)s)
     ORDER BY position DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT * FROM wanted
     WHERE %(before)s::bigint IS NOT NULL AND position > %(before)s
     ORDER BY position LIMIT %(limit)s)
)
SELECT as_of, head, page.position, page.recorded_at, page.stream, book_id, scope, event, actor, request_id,
       correlation_id, causation_id, idempotency_key, page.command, refusal, details, first.name AS scope_opened
FROM t
LEFT JOIN page ON true
LEFT JOIN daybook.events AS first ON first.stream = scope AND first.version = 1
ORDER BY page.position DESC;
