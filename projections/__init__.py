"""What is read: pure functions from events to changes, the SQL that applies them, and the routes that answer."""
