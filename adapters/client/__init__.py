"""A client for Daybook's HTTP API."""
