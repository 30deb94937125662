"""The failure ledger: what failed, why, and the tests that would catch it again."""
