-- What all processes share about rails and routes: circuit breakers and what was lately seen. No truth, and so in no log:
-- lost, it is counted anew. An operator's word is in the breaker.
CREATE TABLE daybook.breakers (
    name       text PRIMARY KEY,
    breaker    jsonb NOT NULL DEFAULT '{}',
    traffic    jsonb NOT NULL DEFAULT '{}',
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
COMMENT ON TABLE daybook.breakers IS 'By rail, or rail/route. Whoever changes rows locks them first, in the order of their names.';
