"""Handing bytes over: one module per way."""
