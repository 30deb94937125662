"""What Muster costs, beside its peers and beside the limit."""
