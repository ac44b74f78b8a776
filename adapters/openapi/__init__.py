"""The HTTP API, told by itself: the OpenAPI document, the page to try it, the catalogues of errors and events."""
