CREATE TABLE payments (
    payment_id   uuid PRIMARY KEY,
    book_id      uuid NOT NULL,
    account_id   uuid NOT NULL,
    position     bigint NOT NULL,
    created_at   timestamptz NOT NULL,
    status       text NOT NULL,
    direction    text NOT NULL,
    amount       bigint NOT NULL,
    currency     char(3) NOT NULL,
    authorized   bigint NOT NULL,
    captured     bigint NOT NULL,
    refunded     bigint NOT NULL,
    reversed     bigint NOT NULL,
    returned     bigint NOT NULL,
    disputed     bigint NOT NULL,
    capture      text NOT NULL,
    approvals    integer NOT NULL,
    approvers    jsonb,
    approved     integer NOT NULL,
    validation   jsonb,
    contradicted boolean NOT NULL,
    rail         text,
    route        text,
    method       jsonb,
    action       jsonb,
    declined     text,
    expires_at   timestamptz,
    lapses_at    timestamptz,
    maker        text NOT NULL,
    description  text,
    reference    text,
    descriptor   text,
    metadata     jsonb,
    version      integer NOT NULL,
    changed      bigint NOT NULL,
    changed_at   timestamptz NOT NULL
);
CREATE UNIQUE INDEX payments_book ON payments (book_id, position);
CREATE UNIQUE INDEX payments_position ON payments (position);
CREATE INDEX payments_account ON payments (account_id, position);
CREATE INDEX payments_status ON payments (status, position) WHERE status <> 'succeeded';
CREATE INDEX payments_reference ON payments (reference) WHERE reference IS NOT NULL;
CREATE INDEX payments_declined ON payments (declined, position) WHERE declined IS NOT NULL;
CREATE INDEX payments_route ON payments (route, position);
CREATE INDEX payments_last4 ON payments ((method ->> 'last4'), position) WHERE method ? 'last4';
CREATE INDEX payments_contradicted ON payments (position) WHERE contradicted;
CREATE INDEX payments_expiring ON payments (expires_at)
    WHERE expires_at IS NOT NULL AND status NOT IN ('succeeded', 'partially_captured', 'canceled', 'expired');
CREATE INDEX payments_lapsing ON payments (lapses_at)
    WHERE lapses_at IS NOT NULL
      AND status IN ('requires_payment_method', 'requires_confirmation', 'requires_approval');
COMMENT ON COLUMN payments.changed IS 'Position of the last event of the payment, changed_at its time; position of the first.';
COMMENT ON COLUMN payments.approved IS 'How many of the approvals were given.';
COMMENT ON COLUMN payments.action IS 'What the payer has to do; NULL of one that does not wait for that.';
COMMENT ON COLUMN payments.approvers IS 'Who may approve, where the policy names them.';
COMMENT ON COLUMN payments.validation IS 'What validators made of it since it was last confirmed.';
COMMENT ON COLUMN payments.declined IS 'Why the latest attempt that failed did.';
COMMENT ON COLUMN payments.method IS 'What it is paid with; of account numbers the last four characters.';
CREATE TABLE payment_requests (
    payment_id   uuid NOT NULL,
    book_id      uuid NOT NULL,
    account_id   uuid NOT NULL,
    request_id   text NOT NULL,
    position     bigint NOT NULL,
    operation    text NOT NULL,
    rail         text,
    route        text,
    amount       bigint NOT NULL,
    state        text NOT NULL,
    upon         text,
    final        boolean NOT NULL,
    reason       text,
    reference    text,
    code         text,
    declined     text,
    retry        text,
    settles_on   text,
    hold_id      uuid,
    entry_id     uuid,
    contradicted boolean NOT NULL,
    settlement_id uuid,
    settled_on   date,
    returned     bigint NOT NULL,
    fee          bigint NOT NULL,
    dispute_id   uuid,
    decision     jsonb,
    requested_at timestamptz NOT NULL,
    answered_at  timestamptz,
    changed      bigint NOT NULL,
    PRIMARY KEY (payment_id, request_id)
);
CREATE INDEX payment_requests_id ON payment_requests (request_id);
CREATE INDEX payment_requests_entry ON payment_requests (right(reference, 15)) WHERE rail = 'ach';
CREATE INDEX payment_requests_nameless ON payment_requests (route)
    WHERE rail = 'ach' AND reference IS NULL AND state <> 'failed';
CREATE INDEX payment_requests_begun ON payment_requests (route, rail, position) WHERE upon IS NULL;
CREATE INDEX payment_requests_operation ON payment_requests (operation, position);
CREATE INDEX payment_requests_book ON payment_requests (book_id, operation, position);
CREATE INDEX payment_requests_account ON payment_requests (account_id, operation, position);
CREATE INDEX payment_requests_route ON payment_requests (route, operation, position);
CREATE INDEX payment_requests_declined ON payment_requests (declined, operation, position) WHERE declined IS NOT NULL;
CREATE INDEX payment_requests_open ON payment_requests (position) WHERE state IN ('requested', 'unknown', 'accepted');
CREATE INDEX payment_requests_reference ON payment_requests (reference) WHERE reference IS NOT NULL;
COMMENT ON COLUMN payment_requests.book_id IS 'The payment''s, as account_id.';
COMMENT ON COLUMN payment_requests.reason IS 'Why it was asked; declined is why it was not done, code the rail''s own word.';
COMMENT ON COLUMN payment_requests.fee IS 'What the rail kept for it in all, and for what came back of it.';
COMMENT ON COLUMN payment_requests.answered_at IS 'When its state last changed; NULL of one of which nothing was heard yet.';
CREATE TABLE disputes (
    payment_id       uuid NOT NULL,
    dispute_id       uuid PRIMARY KEY,
    request_id       text NOT NULL,
    settlement_id    uuid NOT NULL,
    position         bigint NOT NULL,
    amount           bigint NOT NULL,
    fee              bigint NOT NULL,
    state            text NOT NULL,
    reference        text,
    code             text,
    reason           text,
    message          text,
    respond_by       timestamptz,
    entry_id         uuid,
    closing_entry_id uuid,
    disputed_at      timestamptz NOT NULL,
    changed          bigint NOT NULL,
    changed_at       timestamptz NOT NULL
);
CREATE INDEX disputes_payment ON disputes (payment_id);
CREATE UNIQUE INDEX disputes_position ON disputes (position);
CREATE INDEX disputes_unanswered ON disputes (respond_by) WHERE state = 'needs_response';
COMMENT ON COLUMN disputes.entry_id IS 'By which it was taken back; closing_entry_id is by which it was given back, if it was won.';
