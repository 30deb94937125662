"""What proves that the fleet keeps working: failures, proofs, environments, results."""
