"""Proofs: a failure's cause is put back, and its tests must catch it."""
