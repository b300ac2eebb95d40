"""filedropd: a one-time file drop, as a Twisted daemon."""
