-- create_payments --
-- A payment is created once, before anything else happens to it.
COPY payments (payment_id, book_id, account_id, position, created_at, status, direction, amount, currency, authorized,
               captured, refunded, reversed, returned, disputed, capture, approvals, approvers, approved, contradicted,
               expires_at, lapses_at, maker, description,
               reference, descriptor, metadata, version, changed, changed_at) FROM STDIN;

-- start_attempts --
-- What an attempt begins with names its rail and route.
INSERT INTO payment_requests (payment_id, book_id, account_id, request_id, position, operation, rail, route, amount,
                              state, final, contradicted, returned, fee, decision, requested_at, changed)
SELECT payment_id, payments.book_id, payments.account_id, r.request_id, r.position, r.operation, r.rail, r.route,
       r.amount, r.state, r.final, r.contradicted, r.returned, r.fee, r.decision, r.requested_at, r.changed
FROM json_to_recordset(%(rows)s::json) AS r (
    payment_id uuid, request_id text, position bigint, operation text, rail text, route text, amount bigint, state text,
    final boolean, contradicted boolean, returned bigint, fee bigint, decision jsonb, requested_at timestamptz,
    changed bigint
)
JOIN payments USING (payment_id);

-- request_operations --
-- What is asked upon it goes the same way: by the rail and route of the latest attempt before it.
INSERT INTO payment_requests (payment_id, book_id, account_id, request_id, position, operation, rail, route, amount,
                              state, upon, final, reason, contradicted, returned, fee, dispute_id, requested_at, changed)
SELECT r.payment_id, attempt.book_id, attempt.account_id, r.request_id, r.position, r.operation, attempt.rail,
       attempt.route, r.amount, r.state, r.upon, r.final, r.reason, r.contradicted, r.returned, r.fee, r.dispute_id,
       r.requested_at, r.changed
FROM json_to_recordset(%(rows)s::json) AS r (
    payment_id uuid, request_id text, position bigint, operation text, amount bigint, state text, upon text,
    final boolean, reason text, contradicted boolean, returned bigint, fee bigint, dispute_id uuid,
    requested_at timestamptz, changed bigint
)
LEFT JOIN LATERAL (
    SELECT book_id, account_id, rail, route FROM payment_requests AS begun
    WHERE begun.payment_id = r.payment_id AND begun.upon IS NULL AND begun.position < r.position
    ORDER BY begun.position DESC LIMIT 1
) AS attempt ON true;

-- answer_requests --
-- Of several answers in a batch the last one that says something of it stands: that of the highest position.
UPDATE payment_requests AS q SET
    state = coalesce(answer.state, q.state),
    reference = coalesce(answer.reference, q.reference),
    code = coalesce(answer.code, q.code),
    declined = coalesce(answer.declined, q.declined),
    retry = coalesce(answer.retry, q.retry),
    settles_on = coalesce(answer.settles_on, q.settles_on),
    hold_id = coalesce(answer.hold_id, q.hold_id),
    entry_id = coalesce(answer.entry_id, q.entry_id),
    contradicted = q.contradicted OR answer.contradicted,
    settlement_id = coalesce(answer.settlement_id, q.settlement_id),
    settled_on = coalesce(answer.settled_on, q.settled_on),
    returned = q.returned + answer.returned,
    fee = q.fee + answer.fee,
    answered_at = coalesce(answer.answered_at, q.answered_at),
    changed = answer.position
FROM (
    SELECT payment_id, request_id,
           (array_agg(state ORDER BY position DESC) FILTER (WHERE state IS NOT NULL))[1] AS state,
           (array_agg(reference ORDER BY position DESC) FILTER (WHERE reference IS NOT NULL))[1] AS reference,
           (array_agg(code ORDER BY position DESC) FILTER (WHERE code IS NOT NULL))[1] AS code,
           max(declined) AS declined, max(retry) AS retry, max(settles_on) AS settles_on,
           (array_agg(hold_id) FILTER (WHERE hold_id IS NOT NULL))[1] AS hold_id,
           (array_agg(entry_id) FILTER (WHERE entry_id IS NOT NULL))[1] AS entry_id,
           coalesce(bool_or(contradicted), false) AS contradicted,
           (array_agg(settlement_id) FILTER (WHERE settlement_id IS NOT NULL))[1] AS settlement_id,
           max(settled_on) AS settled_on, coalesce(sum(returned), 0) AS returned, coalesce(sum(fee), 0) AS fee,
           max(at) FILTER (WHERE state IS NOT NULL) AS answered_at, max(position) AS position
    FROM json_to_recordset(%(rows)s::json) AS r (
        payment_id uuid, request_id text, state text, reference text, code text, declined text, retry text,
        settles_on text, hold_id uuid, entry_id uuid, contradicted boolean, settlement_id uuid, settled_on date,
        returned bigint, fee bigint, at timestamptz, position bigint
    )
    GROUP BY payment_id, request_id
) AS answer
WHERE q.payment_id = answer.payment_id AND q.request_id = answer.request_id;

-- change_payments --
-- What happened to one payment in a batch is added up; its status is that of the last step that leads to one, and where
-- it depends, on what the payment then is: what it depends on does not change after that step. Approvals are counted
-- from the last confirmation on, and so is a validation the one since.
UPDATE payments AS p SET
    status = CASE change.step
        WHEN 'confirmed' THEN CASE WHEN p.approvals > 0 THEN 'requires_approval' ELSE 'processing' END
        WHEN 'approved' THEN CASE
            WHEN change.approved + CASE WHEN change.confirmed THEN 0 ELSE p.approved END < p.approvals
            THEN 'requires_approval' ELSE 'processing'
        END
        WHEN 'captured' THEN CASE
            WHEN p.captured + change.captured = p.authorized + change.authorized THEN 'succeeded'
            WHEN asked.final THEN 'partially_captured'
            ELSE 'requires_capture'
        END
        WHEN 'voided' THEN CASE
            WHEN p.captured + change.captured > 0 THEN 'partially_captured'
            WHEN asked.reason = 'expired' AND asked.requested_at >= p.expires_at THEN 'expired'
            ELSE 'canceled'
        END
        ELSE coalesce(change.step, p.status)
    END,
    authorized = p.authorized + change.authorized,
    captured = p.captured + change.captured,
    refunded = p.refunded + change.refunded,
    reversed = p.reversed + change.reversed,
    returned = p.returned + change.returned,
    disputed = p.disputed + change.disputed,
    approved = change.approved + CASE WHEN change.confirmed THEN 0 ELSE p.approved END,
    validation = coalesce(change.validation, CASE WHEN change.confirmed THEN NULL ELSE p.validation END),
    contradicted = p.contradicted OR change.contradicted,
    method = coalesce(change.method, p.method),
    action = CASE WHEN coalesce(change.step, p.status) = 'requires_action'
                  THEN coalesce(change.action, p.action) END,
    declined = coalesce(change.declined, p.declined),
    rail = coalesce(change.rail, p.rail),
    route = coalesce(change.route, p.route),
    version = change.version,
    changed = change.position,
    changed_at = change.changed_at
FROM (
    SELECT payment_id,
           (array_agg(step ORDER BY position DESC) FILTER (WHERE step IS NOT NULL))[1] AS step,
           (array_agg(request_id ORDER BY position DESC) FILTER (WHERE step IS NOT NULL))[1] AS request_id,
           coalesce(sum(authorized), 0) AS authorized, coalesce(sum(captured), 0) AS captured,
           coalesce(sum(refunded), 0) AS refunded, coalesce(sum(reversed), 0) AS reversed,
           coalesce(sum(returned), 0) AS returned, coalesce(sum(disputed), 0) AS disputed, confirmed IS NOT NULL AS confirmed,
           coalesce(sum(approved) FILTER (WHERE position > coalesce(confirmed, 0)), 0) AS approved,
           (array_agg(validation ORDER BY position DESC)
               FILTER (WHERE validation IS NOT NULL AND position > coalesce(confirmed, 0)))[1] AS validation,
           coalesce(bool_or(contradicted), false) AS contradicted,
           (array_agg(method ORDER BY position DESC) FILTER (WHERE method IS NOT NULL))[1] AS method,
           (array_agg(action ORDER BY position DESC) FILTER (WHERE action IS NOT NULL))[1] AS action,
           (array_agg(declined ORDER BY position DESC) FILTER (WHERE declined IS NOT NULL))[1] AS declined,
           (array_agg(rail ORDER BY position DESC) FILTER (WHERE rail IS NOT NULL))[1] AS rail,
           (array_agg(route ORDER BY position DESC) FILTER (WHERE route IS NOT NULL))[1] AS route,
           max(version) AS version, max(position) AS position, max(changed_at) AS changed_at
    FROM (
        SELECT *, max(position) FILTER (WHERE step = 'confirmed') OVER (PARTITION BY payment_id) AS confirmed
        FROM json_to_recordset(%(rows)s::json) AS r (
            payment_id uuid, step text, request_id text, authorized bigint, captured bigint, refunded bigint,
            reversed bigint, returned bigint, disputed bigint, approved integer, validation jsonb, contradicted boolean,
            method jsonb, action jsonb, declined text, rail text, route text, version integer,
            position bigint, changed_at timestamptz
        )
    ) AS step
    GROUP BY payment_id, confirmed
) AS change
LEFT JOIN payment_requests AS asked
    ON asked.payment_id = change.payment_id AND asked.request_id = change.request_id
WHERE p.payment_id = change.payment_id;

-- open_disputes --
-- A dispute is opened once, by the rail.
COPY disputes (payment_id, dispute_id, request_id, settlement_id, position, amount, fee, state, reference, code, reason,
               message, respond_by, entry_id, disputed_at, changed, changed_at) FROM STDIN;

-- change_disputes --
-- How it was closed last stands; that it is under review, only while nothing else became of it. What was contested is
-- known by the request for it.
UPDATE disputes AS d SET
    state = CASE WHEN change.outcome IS NULL AND d.state = 'needs_response' THEN 'under_review'
                 ELSE coalesce(change.outcome, d.state) END,
    fee = d.fee + change.fee,
    closing_entry_id = coalesce(change.closing_entry_id, d.closing_entry_id),
    changed = change.position,
    changed_at = change.changed_at
FROM (
    SELECT coalesce(r.dispute_id, asked.dispute_id) AS dispute_id,
           (array_agg(outcome ORDER BY r.position DESC) FILTER (WHERE outcome IS NOT NULL))[1] AS outcome,
           coalesce(sum(r.fee), 0) AS fee,
           (array_agg(closing_entry_id) FILTER (WHERE closing_entry_id IS NOT NULL))[1] AS closing_entry_id,
           max(r.position) AS position, max(r.changed_at) AS changed_at
    FROM json_to_recordset(%(rows)s::json) AS r (
        payment_id uuid, request_id text, dispute_id uuid, outcome text, fee bigint, closing_entry_id uuid,
        position bigint, changed_at timestamptz
    )
    LEFT JOIN payment_requests AS asked ON asked.payment_id = r.payment_id AND asked.request_id = r.request_id
    GROUP BY 1
) AS change
WHERE d.dispute_id = change.dispute_id;
