"""Postgres: the event store, the read models' runner and queries, the migrations."""
