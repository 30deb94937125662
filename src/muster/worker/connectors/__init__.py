"""Adapters from a worker to one kind of service each."""
