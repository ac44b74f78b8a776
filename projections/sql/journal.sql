-- post_entries --
-- An entry is posted once.
COPY entries (entry_id, book_id, position, recorded_at, reverses, value_date, actor, description, reference,
              metadata, captures, recipe, postings) FROM STDIN;

-- link_reversals --
-- The mirror entry names the one it reverses when it is posted; here that one comes to name its mirror. Where it is,
-- the log's own index of streams says.
UPDATE entries SET reversed_by = r.reversed_by
FROM json_to_recordset(%(rows)s::json) AS r (entry_id uuid, reversed_by uuid)
JOIN daybook.events AS first ON first.stream = r.entry_id AND first.version = 1
WHERE entries.position = first.position AND entries.entry_id = r.entry_id;
