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

INSERT INTO handwritten.accounts SELECT n, 1000000000000 FROM generate_series(0, 999) AS n;
