"""HTTP to drops, on Klein."""
