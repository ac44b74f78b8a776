CREATE TABLE settlements (
    settlement_id uuid PRIMARY KEY,
    book_id       uuid NOT NULL,
    position      bigint NOT NULL,
    recorded_at   timestamptz NOT NULL,
    rail          text NOT NULL,
    route         text NOT NULL,
    day           date NOT NULL,
    part          integer NOT NULL,
    currency      char(3) NOT NULL,
    reference     text,
    lines         jsonb NOT NULL,
    incoming      bigint NOT NULL,
    outgoing      bigint NOT NULL,
    fees          bigint NOT NULL,
    net           bigint NOT NULL,
    breaks        jsonb NOT NULL,
    broken        integer NOT NULL,
    entry_id      uuid,
    actor         text NOT NULL
);
CREATE UNIQUE INDEX settlements_position ON settlements (position);
CREATE INDEX settlements_book ON settlements (book_id, position);
CREATE INDEX settlements_route ON settlements (route, rail, day);
CREATE INDEX settlements_day ON settlements (day, position);
CREATE INDEX settlements_broken ON settlements (position) WHERE broken > 0;
COMMENT ON COLUMN settlements.net IS 'What the rail paid in the end, below zero what it took, in minor units.';
COMMENT ON COLUMN settlements.lines IS 'How many lines that fit say what; broken is how many fit nothing.';
