"""Wires: ISO 20022 messages to a bank and back, over HTTP."""
