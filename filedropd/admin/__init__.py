"""``filedropd-admin``: what operators do with records and bytes beside the daemon.

:mod:`.commands` is the command line, :mod:`.running` the reactor that it needs; each of the others does one
thing, as coroutines that print nothing.
"""

from filedropd.admin.commands import main

__all__ = ["main"]
