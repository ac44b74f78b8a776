"""The outside world, one folder per thing outside, and the composition roots."""
