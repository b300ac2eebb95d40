"""Drops and claims, kept: one module per database, the statements in :mod:`.sql`."""
