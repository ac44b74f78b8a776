-- place_holds --
-- A hold is placed once; all of it remains.
COPY holds (hold_id, book_id, account_id, destination_id, position, recorded_at, status, amount, captured,
            remaining, currency, expires_at, actor, description, reference, metadata, version, changed) FROM STDIN;

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
