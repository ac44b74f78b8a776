"""In-memory twins of the ports: the same promises, kept only as long as the process lives."""
