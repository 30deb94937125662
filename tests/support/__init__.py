"""What tests of all tiers share."""
