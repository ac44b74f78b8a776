-- add_records --
-- An event that names its book.
COPY audit_trail (position, recorded_at, stream, book_id, scope, event, actor, request_id, correlation_id,
                  causation_id, idempotency_key, command, refusal, details) FROM STDIN;

-- add_records_of --
-- An event that does not name its book is of the book of the thing it happened to: the log's own first event of that
-- thing says which, if it is an earlier one (a thing that came later was not there to be asked). Each row looks by itself
-- and by the stream: a join, or the index of positions, is as good in a short log, and its plan would walk a long one.
INSERT INTO audit_trail (position, recorded_at, stream, book_id, scope, event, actor, request_id, correlation_id,
                         causation_id, idempotency_key, command, refusal, details)
SELECT r.position, r.recorded_at, r.stream,
       coalesce(
           (convert_from(first.payload, 'UTF8')::jsonb ->> 'book_id')::uuid,
           CASE WHEN first.name LIKE 'book.%%' THEN first.stream END
       ),
       scope, event, actor, request_id, correlation_id, causation_id, idempotency_key, r.command, refusal, details
FROM json_to_recordset(%(rows)s::json) AS r (
    position bigint, recorded_at timestamptz, stream uuid, subject uuid, scope uuid, event text,
    actor text, request_id text, correlation_id text, causation_id text, idempotency_key text, command text,
    refusal text, details jsonb
)
LEFT JOIN LATERAL (
    SELECT stream, name, payload FROM daybook.events
    WHERE stream = r.subject AND version = 1 AND position + 0 < r.position
    LIMIT 1
) AS first ON true;
