-- What Daybook must neither forget nor tell: it is in no event, read model or export, but in a backup of the database.
CREATE TABLE daybook.secrets (
    name  text PRIMARY KEY,
    value bytea NOT NULL CHECK (length(value) = 32)
);
REVOKE ALL ON daybook.secrets FROM PUBLIC;
-- 244 bits of the server's own strong randomness.
INSERT INTO daybook.secrets
VALUES ('client_secrets', sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));
