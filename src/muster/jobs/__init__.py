"""What a job is and how it moves: the queue on Redis."""
