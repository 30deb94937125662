"""Muster runs elastic GPU fleets on Redis, and proves that they keep working."""
