"""The rails: one folder for each, its messages bytes in and bytes out, and the simulator of the other side."""
