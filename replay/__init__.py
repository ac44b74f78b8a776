"""What was: any past moment from the log alone, and the proof that what is stored follows from the log."""
