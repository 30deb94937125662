"""Stand-ins for what Muster runs on: for its own tests, for yours, and for `muster up`."""
