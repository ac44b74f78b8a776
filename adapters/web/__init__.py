"""The web application: where Daybook is put together and spoken to over HTTP."""
