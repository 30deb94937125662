"""The results of runs: recorded, kept, compared, shown."""
