"""HTTP/1.1 itself; knows nothing of drops."""
