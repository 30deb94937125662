"""The commands that the matrix adds to ``muster``."""
