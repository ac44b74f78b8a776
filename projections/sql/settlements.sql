-- add_settlements --
-- What was recorded stays as it was.
COPY settlements (settlement_id, book_id, position, recorded_at, rail, route, day, part, currency, reference, lines,
                  incoming, outgoing, fees, net, breaks, broken, entry_id, actor) FROM STDIN;
