"""The HTTP API: where jobs come in, and where the fleet is watched and steered."""
