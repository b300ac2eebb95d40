"""One download: how its bytes come, and where they go."""
