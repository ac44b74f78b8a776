-- The beginning of a write in one call, its plans kept: the lock, and under it the head and whether a command was
-- answered before. In PL/pgSQL each statement sees what is committed when it begins, so the head is the true one.
CREATE FUNCTION daybook.begin_writing(
    command_ids uuid[],
    OUT last bigint, OUT recorded_at timestamptz, OUT hash bytea, OUT now timestamptz, OUT answered boolean
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM daybook.lock_log();
    SELECT s.last, s.recorded_at, s.hash INTO last, recorded_at, hash FROM daybook.seals AS s ORDER BY s.first DESC LIMIT 1;
    now := clock_timestamp();
    answered := EXISTS (SELECT FROM daybook.events AS e WHERE e.stream = ANY (command_ids) AND e.version = 1 AND e.command IS NULL)
        OR EXISTS (SELECT FROM daybook.events AS e WHERE e.command = ANY (command_ids));
END $$;
