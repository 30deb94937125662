"""Where tests run, what they may do there, and what must be there."""
