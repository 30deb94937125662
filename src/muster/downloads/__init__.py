"""Worker packages and models: fetched once, verified, kept, never stale."""
