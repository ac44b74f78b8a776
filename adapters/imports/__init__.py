"""Accounts and journals out of CSV and JSON Lines files, through the desk like any other command."""
