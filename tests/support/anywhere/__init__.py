"""One fleet, one interface, wherever it runs: processes, containers, or a system that is there."""
