-- Holds: pending postings, taken back by the same amount below zero when the hold ends or is captured.

ALTER TABLE daybook.postings DROP CONSTRAINT postings_amount_check;
ALTER TABLE daybook.postings ADD CONSTRAINT postings_amount_check CHECK (amount > 0 OR (pending AND amount < 0));
