"""What is true and what may be decided: pure, no input or output, no clock, no randomness."""
