"""One machine: from environment variables to running processes that are what was planned."""
