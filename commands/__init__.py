"""What may be asked: the commands, the desk that decides and commits them, and their HTTP routes."""
