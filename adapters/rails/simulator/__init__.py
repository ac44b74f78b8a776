"""The other side of every rail, in a process of its own: its own books, its own clock, and faults on demand."""
