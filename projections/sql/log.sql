-- log --
-- Events in order, from the log alone.
WITH t AS (
    SELECT daybook.head() AS as_of, daybook.head() AS head
), page AS (
    (SELECT * FROM daybook.events
     WHERE %(before)s::bigint IS NULL AND (%(after)s::bigint IS NULL OR position > %(after)s)
     ORDER BY position LIMIT %(limit)s)
    UNION ALL
    (SELECT * FROM daybook.events
     WHERE %(before)s::bigint IS NOT NULL AND position < %(before)s
     ORDER BY position DESC LIMIT %(limit)s)
)
SELECT as_of, head, position, recorded_at, stream, version, name, page.metadata, payload, NULL AS scope_opened
FROM t LEFT JOIN page ON true
ORDER BY position;

-- log_filtered --
-- Events in order that are of a book, of an actor, of a kind, or touch an account: its own, those with postings to it,
-- and refused commands upon it. The audit trail knows whose they are; the account's posting numbers lead to positions.
WITH t AS (
    SELECT min(coalesce(notification_id, 0)) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
), wanted AS NOT MATERIALIZED (
    SELECT * FROM audit_trail
    WHERE (%(book)s::uuid IS NULL OR book_id = %(book)s)
      AND (%(actor)s::text IS NULL OR actor = %(actor)s)
      AND (%(event)s::text IS NULL OR event = %(event)s)
      AND (%(kind)s::text IS NULL OR event ^@ (%(kind)s || '.'))
      AND (%(kind)s::text IS NULL OR %(kind)s = 'journal_entry' OR event <> 'journal_entry.posted.v1')
      AND (%(account)s::uuid IS NULL OR position = ANY (ARRAY(
          SELECT position FROM daybook.events WHERE stream = %(account)s
          UNION ALL
          SELECT position FROM audit_trail WHERE scope = %(account)s
          UNION ALL
          (SELECT position FROM daybook.postings
           WHERE account = %(account)s AND %(before)s::bigint IS NULL
             AND number > (SELECT daybook.number_at(%(account)s, %(after)s))
             AND ((%(posted)s::boolean AND NOT pending) OR (%(pending)s::boolean AND pending))
             AND position IS DISTINCT FROM (
                 SELECT position FROM daybook.postings AS previous
                 WHERE previous.account = %(account)s AND previous.number = postings.number - 1
             )
           ORDER BY number LIMIT CASE WHEN %(each_shown)s::boolean THEN %(limit)s::bigint END)
          UNION ALL
          (SELECT position FROM daybook.postings
           WHERE account = %(account)s AND %(before)s::bigint IS NOT NULL
             AND number <= (SELECT daybook.number_at(%(account)s, %(before)s - 1))
             AND ((%(posted)s::boolean AND NOT pending) OR (%(pending)s::boolean AND pending))
             AND position IS DISTINCT FROM (
                 SELECT position FROM daybook.postings AS next
                 WHERE next.account = %(account)s AND next.number = postings.number + 1
             )
           ORDER BY number DESC LIMIT CASE WHEN %(each_shown)s::boolean THEN %(limit)s::bigint END)
      )))
), page AS (
    (SELECT position, scope FROM wanted
     WHERE %(before)s::bigint IS NULL AND (%(after)s::bigint IS NULL OR position > %(after)s)
     ORDER BY position LIMIT %(limit)s)
    UNION ALL
    (SELECT position, scope FROM wanted
     WHERE %(before)s::bigint IS NOT NULL AND position < %(before)s
     ORDER BY position DESC LIMIT %(limit)s)
)
SELECT as_of, head, events.position, events.recorded_at, events.stream, events.version, events.name, events.metadata,
       events.payload, first.name AS scope_opened
FROM t
LEFT JOIN (page JOIN daybook.events AS events USING (position)) ON true
LEFT JOIN daybook.events AS first ON first.stream = scope AND first.version = 1
ORDER BY events.position;

-- log_window --
-- As the two above, but looking only at so many positions: what it costs is bounded also where nothing matches, and
-- whoever follows the log goes on after the last position looked at.
WITH t AS (
    SELECT coalesce(min(coalesce(notification_id, 0)), daybook.head()) AS as_of, daybook.head() AS head
    FROM unnest(%(projections)s::text[]) AS wanted (name) LEFT JOIN tracking ON application_name = name
), looked AS (
    SELECT *, least(as_of, %(after)s::bigint + %(width)s) AS until FROM t
)
SELECT as_of, head, until, found.*
FROM looked
LEFT JOIN LATERAL (
    SELECT events.position, events.recorded_at, events.stream, events.version, events.name, events.metadata,
           events.payload, first.name AS scope_opened
    FROM daybook.events
    LEFT JOIN audit_trail ON %(filtered)s::boolean AND audit_trail.position = events.position
    LEFT JOIN daybook.events AS first ON first.stream = scope AND first.version = 1
    WHERE events.position > %(after)s AND events.position <= looked.until
      AND (%(book)s::uuid IS NULL OR book_id = %(book)s)
      AND (%(actor)s::text IS NULL OR actor = %(actor)s)
      AND (%(event)s::text IS NULL OR events.name = %(event)s)
      AND (%(kind)s::text IS NULL OR events.name ^@ (%(kind)s || '.'))
      AND (%(account)s::uuid IS NULL OR events.stream = %(account)s OR scope = %(account)s
           OR events.position IN (
               SELECT position FROM daybook.postings
               WHERE account = %(account)s
                 AND number > (SELECT daybook.number_at(%(account)s, %(after)s))
                 AND number <= (SELECT daybook.number_at(%(account)s, looked.until))
           ))
    ORDER BY events.position LIMIT %(limit)s
) AS found ON true
ORDER BY found.position;

-- streams --
-- All there is on some streams, each in its order, as it is stored: from the log alone.
SELECT position, stream, version, name, recorded_at, metadata, payload, command
FROM daybook.events
WHERE stream = ANY (%(streams)s::uuid[])
ORDER BY stream, version;
