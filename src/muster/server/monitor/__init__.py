"""The live monitor: one reader of the queue's streams, one state, and many viewers of it."""
