"""Machines and workers as the queue sees them."""
