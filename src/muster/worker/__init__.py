"""The loop of one GPU's worker, and its connectors to services."""
