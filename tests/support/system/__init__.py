"""The system tier: whole fleets in containers, started from the compose files in ``envs/``."""
