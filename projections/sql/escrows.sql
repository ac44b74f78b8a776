-- fund_escrows --
-- An escrow is funded once, before anything else happens to it.
COPY escrows (escrow_id, book_id, depositor_id, beneficiary_id, position, created_at, status, amount, released, returned,
              suspended, currency, expires_at, on_expiry, conditions, met, return_terms, returns, maker, description,
              reference, metadata, version, changed, changed_at) FROM STDIN;

-- add_parts --
-- Its parts are there from the beginning.
COPY escrow_parts (escrow_id, number, position, name, amount, released, returned, conditions, approvals, approvers,
                   approved, changed) FROM STDIN;

-- change_parts --
-- Changes of one part in a batch are added up; approvals in their order. Why it was blocked is what was said last.
UPDATE escrow_parts AS p SET
    released = p.released + change.released,
    returned = p.returned + change.returned,
    approved = p.approved || change.approved,
    blocked = nullif(coalesce(change.blocked, p.blocked), ''),
    changed = change.position
FROM (
    SELECT escrow_id, name, coalesce(sum(released), 0) AS released, coalesce(sum(returned), 0) AS returned,
           coalesce(jsonb_agg(approver ORDER BY position) FILTER (WHERE approver IS NOT NULL), '[]') AS approved,
           (array_agg(blocked ORDER BY position DESC) FILTER (WHERE blocked IS NOT NULL))[1] AS blocked,
           max(position) AS position
    FROM json_to_recordset(%(rows)s::json) AS r (
        escrow_id uuid, name text, released bigint, returned bigint, approver text, blocked text, position bigint
    )
    GROUP BY escrow_id, name
) AS change
WHERE p.escrow_id = change.escrow_id AND p.name = change.name;

-- change_escrows --
-- What happened to one escrow in a batch is added up; its status follows from what it comes to, but for its time having
-- come. What approvers have agreed to have returned counts from the last return on.
UPDATE escrows AS e SET
    status = CASE
        WHEN e.status = 'expired' OR change.expired THEN 'expired'
        WHEN e.amount > e.released + change.released + e.returned + change.returned THEN
            CASE WHEN e.released + change.released > 0 THEN 'partially_released' ELSE 'funded' END
        WHEN e.returned + change.returned = 0 THEN 'released'
        WHEN e.released + change.released = 0 THEN 'returned'
        ELSE 'divided'
    END,
    released = e.released + change.released,
    returned = e.returned + change.returned,
    suspended = e.suspended + change.suspended,
    met = e.met || change.met,
    returns = CASE WHEN change.returned > 0 THEN '{}' ELSE e.returns END || change.returns,
    version = change.version,
    changed = change.position,
    changed_at = change.changed_at
FROM (
    SELECT escrow_id, coalesce(sum(released), 0) AS released, coalesce(sum(returned), 0) AS returned,
           coalesce(sum(suspended), 0) AS suspended, coalesce(bool_or(expired), false) AS expired,
           coalesce(jsonb_object_agg(met, by) FILTER (WHERE met IS NOT NULL), '{}') AS met,
           coalesce(
               jsonb_object_agg(approver, agreed ORDER BY position)
                   FILTER (WHERE approver IS NOT NULL AND position > coalesce(last_return, 0)),
               '{}'
           ) AS returns,
           max(version) AS version, max(position) AS position, max(changed_at) AS changed_at
    FROM (
        SELECT *, max(position) FILTER (WHERE returned IS NOT NULL) OVER (PARTITION BY escrow_id) AS last_return
        FROM json_to_recordset(%(rows)s::json) AS r (
            escrow_id uuid, released bigint, returned bigint, suspended bigint, expired boolean, met text, by text,
            approver text, agreed jsonb, version integer, position bigint, changed_at timestamptz
        )
    ) AS step
    GROUP BY escrow_id
) AS change
WHERE e.escrow_id = change.escrow_id;
