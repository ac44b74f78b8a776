-- The read models' tables come from their projections (projections/sql/*_tables.sql), and are built from the log.

DROP TABLE IF EXISTS daybook_read.books, daybook_read.accounts, daybook_read.balances, daybook_read.limits,
    daybook_read.entries, daybook_read.holds, daybook_read.audit_trail;
DELETE FROM daybook_read.tracking;
COMMENT ON TABLE daybook_read.tracking IS 'Whoever reads several statements of one snapshot locks this in ROW SHARE first: then no build changes places meanwhile.';

-- A build that is not live yet has its tables in the schema daybook_build_<id>, and is tracked as <name>.v<version>#<id>.
CREATE TABLE daybook_read.builds (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text NOT NULL,
    version         integer NOT NULL,
    digest          text NOT NULL,
    live            boolean NOT NULL DEFAULT false,
    tables          text[] NOT NULL,
    began_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    live_since      timestamptz,
    parked_position bigint,
    parked_error    text,
    parked_at       timestamptz,
    UNIQUE (name, live)
);
COMMENT ON COLUMN daybook_read.builds.digest IS 'Of the projection''s source, its SQL and its tables: other code makes another build.';
COMMENT ON COLUMN daybook_read.builds.parked_position IS 'The event it cannot get past; NULL while all is well.';

-- What a person decided to leave out of a projection. It holds for the code it was decided for.
CREATE TABLE daybook.skips (
    projection text NOT NULL,
    digest     text NOT NULL,
    position   bigint NOT NULL,
    error      text NOT NULL,
    reason     text NOT NULL CHECK (reason <> ''),
    actor      text NOT NULL CHECK (actor <> ''),
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (projection, digest, position)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON daybook.skips
    FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_change();
ALTER TABLE daybook.skips ENABLE ALWAYS TRIGGER append_only;
REVOKE UPDATE, DELETE, TRUNCATE ON daybook.skips FROM CURRENT_USER;
