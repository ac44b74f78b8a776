"""The card rail: ISO 8583:1987 over one long-lived TCP connection for each acquirer."""
