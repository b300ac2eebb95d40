"""What may be lost: one module per technology."""
