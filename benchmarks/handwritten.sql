-- What one would write by hand: a transfer as one function call, with a unique idempotency key, two balance rows with an
-- overdraft check, and two entry rows. No events, no audit, no seal, no replay.

CREATE SCHEMA handwritten;

CREATE TABLE handwritten.accounts (id integer PRIMARY KEY, balance bigint NOT NULL);
CREATE TABLE handwritten.transfers (id bigserial PRIMARY KEY, key uuid NOT NULL UNIQUE, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE handwritten.entries (
    id       bigserial PRIMARY KEY,
    transfer bigint NOT NULL REFERENCES handwritten.transfers,
    account  integer NOT NULL REFERENCES handwritten.accounts,
    amount   bigint NOT NULL,
    balance  bigint NOT NULL
);
CREATE INDEX ON handwritten.entries (account, id);

CREATE FUNCTION handwritten.transfer(key uuid, source integer, target integer, amount bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    transfer_id bigint;
    source_balance bigint;
    target_balance bigint;
BEGIN
    INSERT INTO handwritten.transfers (key) VALUES (transfer.key) RETURNING id INTO transfer_id;
    -- Lock in one order, so that two transfers never wait for each other.
    PERFORM 1 FROM handwritten.accounts a WHERE a.id IN (source, target) ORDER BY a.id FOR UPDATE;
    UPDATE handwritten.accounts a SET balance = a.balance - amount WHERE a.id = source RETURNING a.balance INTO source_balance;
    IF source_balance < 0 THEN
        RAISE EXCEPTION 'insufficient funds';
    END IF;
    UPDATE handwritten.accounts a SET balance = a.balance + amount WHERE a.id = target RETURNING a.balance INTO target_balance;
    INSERT INTO handwritten.entries (transfer, account, amount, balance)
        VALUES (transfer_id, source, -amount, source_balance), (transfer_id, target, amount, target_balance);
    RETURN transfer_id;
END $$;

-- The same set-based, for one client with many transfers at hand: one statement per table, every balance updated once.
-- A key that was used, or an account that would go below zero, refuses the whole batch.
CREATE FUNCTION handwritten.transfer_batch(keys uuid[], sources integer[], targets integer[], amounts bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    lowest bigint;
BEGIN
    PERFORM 1 FROM handwritten.accounts a WHERE a.id = ANY (sources || targets) ORDER BY a.id FOR UPDATE;
    WITH made AS (
        INSERT INTO handwritten.transfers (key) SELECT key FROM unnest(keys) AS key RETURNING id, key
    ), asked AS (
        SELECT made.id, source, target, amount
        FROM unnest(keys, sources, targets, amounts) AS u (key, source, target, amount) JOIN made USING (key)
    ), lines AS (
        SELECT id, source AS account, -amount AS amount FROM asked UNION ALL SELECT id, target, amount FROM asked
    ), entered AS (
        INSERT INTO handwritten.entries (transfer, account, amount, balance)
        SELECT l.id, l.account, l.amount,
            a.balance + sum(l.amount) OVER (PARTITION BY l.account ORDER BY l.id ROWS UNBOUNDED PRECEDING)
        FROM lines l JOIN handwritten.accounts a ON a.id = l.account
        RETURNING account, amount, balance
    ), moved AS (
        UPDATE handwritten.accounts a SET balance = a.balance + m.amount
        FROM (SELECT account, sum(amount) AS amount FROM entered GROUP BY account) AS m WHERE a.id = m.account
    )
    SELECT min(balance) INTO lowest FROM entered;
    IF lowest < 0 THEN
        RAISE EXCEPTION 'insufficient funds';
    END IF;
END $$;

INSERT INTO handwritten.accounts SELECT n, 1000000000000 FROM generate_series(0, 999) AS n;
