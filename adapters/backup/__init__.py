"""Backups by Postgres' own tools: a dump of one moment with a manifest of what it holds, and its restoration."""
