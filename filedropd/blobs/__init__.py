"""The bytes, kept: one module per technology."""
