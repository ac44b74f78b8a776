-- place_holds --
-- A hold is placed once; all of it remains.
INSERT INTO holds (hold_id, book_id, account_id, destination_id, position, recorded_at, status, amount, captured,
                   remaining, currency, expires_at, actor, description, reference, metadata, version, changed)
SELECT hold_id, book_id, account_id, destination_id, position, recorded_at, status, amount, 0,
       amount, currency, expires_at, actor, description, reference, metadata, version, position
FROM json_to_recordset(%(rows)s::json) AS r (
    hold_id uuid, book_id uuid, account_id uuid, destination_id uuid, position bigint, recorded_at timestamptz,
    status text, amount bigint, currency text, expires_at timestamptz, actor text, description text, reference text,
    metadata jsonb, version integer
);

-- change_holds --
-- Changes of one hold in a batch are added up first; only one of them, the last, can end it.
UPDATE holds SET
    status = coalesce(change.status, holds.status),
    amount = holds.amount + change.more,
    captured = holds.captured + change.captured,
    remaining = holds.remaining + change.more - change.released,
    version = change.version,
    changed = change.position
FROM (
    SELECT hold_id, max(status) AS status, sum(more) AS more, sum(captured) AS captured, sum(released) AS released,
           max(version) AS version, max(position) AS position
    FROM json_to_recordset(%(rows)s::json) AS r (
        hold_id uuid, more bigint, captured bigint, released bigint, status text, version integer, position bigint
    )
    GROUP BY hold_id
) AS change
WHERE holds.hold_id = change.hold_id;
