-- The log: events, the postings they make, the seals over them. Appended to by daybook.append alone, under the log's lock.

CREATE TABLE daybook.events (
    position    bigint PRIMARY KEY,
    recorded_at timestamptz NOT NULL,
    stream      uuid NOT NULL,
    version     integer NOT NULL,
    name        text NOT NULL,
    metadata    bytea NOT NULL,
    payload     bytea NOT NULL,
    command     uuid
);
CREATE UNIQUE INDEX events_stream_version ON daybook.events (stream, version);
CREATE UNIQUE INDEX events_command ON daybook.events (command) WHERE command IS NOT NULL;
COMMENT ON TABLE daybook.events IS 'What happened, in order. metadata and payload are JSON, kept as the bytes that were hashed.';
COMMENT ON COLUMN daybook.events.command IS 'The command this event answers, where the stream does not bear the command''s own id.';

CREATE TABLE daybook.postings (
    account         uuid NOT NULL,
    number          bigint NOT NULL,
    position        bigint NOT NULL,
    amount          bigint NOT NULL CHECK (amount > 0),
    debits          bigint NOT NULL,
    credits         bigint NOT NULL,
    pending_debits  bigint NOT NULL,
    pending_credits bigint NOT NULL,
    value_date      date NOT NULL,
    side            "char" NOT NULL CHECK (side IN ('D', 'C')),
    pending         boolean NOT NULL,
    PRIMARY KEY (account, number)
);
COMMENT ON TABLE daybook.postings IS 'One row per account touched: its posting number, and its totals after it. Minor units.';

CREATE TABLE daybook.seals (
    first       bigint PRIMARY KEY,
    last        bigint NOT NULL CHECK (last >= first),
    recorded_at timestamptz NOT NULL,
    hash        bytea NOT NULL CHECK (length(hash) = 32)
);
CREATE INDEX seals_recorded_at ON daybook.seals (recorded_at, last);
COMMENT ON TABLE daybook.seals IS 'One row per commit: SHA-256 over its events'' stored bytes, chained to the seal before.';

-- What is written stays written: refused by trigger, whoever asks, and by role, to the tables' own owner.
CREATE FUNCTION daybook.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'daybook.% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON daybook.events
    FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON daybook.postings
    FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON daybook.seals
    FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_change();
ALTER TABLE daybook.events ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE daybook.postings ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE daybook.seals ENABLE ALWAYS TRIGGER append_only;
REVOKE UPDATE, DELETE, TRUNCATE ON daybook.events, daybook.postings, daybook.seals FROM CURRENT_USER;

-- The log's lock lasts until the db transaction ends. Readers, VACUUM and CREATE INDEX CONCURRENTLY do not notice it.
CREATE FUNCTION daybook.lock_log() RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtextextended('daybook.events', 0));
$$;

CREATE FUNCTION daybook.head() RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT last FROM daybook.seals ORDER BY first DESC LIMIT 1), 0);
$$;

-- Append one batch right after position after_position, or fail whole.
CREATE FUNCTION daybook.append(
    after_position bigint, at timestamptz, seal bytea,
    streams uuid[], versions integer[], names text[], metadata bytea[], payloads bytea[], commands uuid[],
    accounts uuid[], numbers bigint[], positions bigint[], amounts bigint[],
    debits bigint[], credits bigint[], pending_debits bigint[], pending_credits bigint[],
    value_dates date[], sides "char"[], pending boolean[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM daybook.lock_log();
    IF daybook.head() <> after_position THEN
        RAISE EXCEPTION 'the log is at %, not at %', daybook.head(), after_position USING ERRCODE = 'DB001';
    END IF;
    INSERT INTO daybook.events (position, recorded_at, stream, version, name, metadata, payload, command)
        SELECT after_position + n, at, s, v, e, m, p, c
        FROM unnest(streams, versions, names, metadata, payloads, commands) WITH ORDINALITY AS u (s, v, e, m, p, c, n);
    INSERT INTO daybook.postings (account, number, position, amount, debits, credits, pending_debits, pending_credits,
                                  value_date, side, pending)
        SELECT * FROM unnest(accounts, numbers, positions, amounts, debits, credits, pending_debits, pending_credits,
                             value_dates, sides, pending);
    INSERT INTO daybook.seals (first, last, recorded_at, hash)
        VALUES (after_position + 1, after_position + cardinality(streams), at, seal);
    PERFORM pg_notify('daybook_log', '');
END $$;

-- The totals of an account after its last posting at or before a position, by bisection of its posting numbers:
-- positions grow with them, so no index on positions is needed.
CREATE FUNCTION daybook.totals_at(of_account uuid, at_position bigint)
RETURNS SETOF daybook.postings LANGUAGE plpgsql STABLE AS $$
DECLARE
    low  bigint := 0;
    high bigint := coalesce((SELECT max(number) FROM daybook.postings WHERE account = of_account), 0);
    middle bigint;
BEGIN
    WHILE low < high LOOP
        middle := (low + high + 1) / 2;
        IF (SELECT position FROM daybook.postings WHERE account = of_account AND number = middle) <= at_position THEN
            low := middle;
        ELSE
            high := middle - 1;
        END IF;
    END LOOP;
    RETURN QUERY SELECT * FROM daybook.postings WHERE account = of_account AND number = low;
END $$;

-- The last position recorded at or before a time; 0 when there is none.
CREATE FUNCTION daybook.position_at(at timestamptz) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT last FROM daybook.seals WHERE recorded_at <= at ORDER BY recorded_at DESC, last DESC LIMIT 1), 0);
$$;
