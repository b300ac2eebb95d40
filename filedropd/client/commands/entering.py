"""From the command line into a command, and out again with an exit status."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any, NoReturn

import click

from filedropd.client.commands import streams, usage
from filedropd.client.commands.exits import DONE, INTERRUPTED, status_of
from filedropd.client.commands.running import complain


class Commands(click.Group):
    """Commands that return their exit status; whatever goes wrong with one is said in a line."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """See :meth:`click.Command.main`. Ends the process."""
        streams.ready()
        try:
            status = super().main(*args, **(kwargs | {"standalone_mode": False})) or DONE
            sys.stdout.flush()
        except (click.Abort, KeyboardInterrupt):
            complain("interrupted")
            status = INTERRUPTED
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            status = error.exit_code
        except click.ClickException as error:
            complain(usage.told(error))
            status = error.exit_code
        except OSError as error:  # a help that cannot be printed
            complain(streams.unwritable(error).detail)
            status = status_of(error)
        _end(status)


def _end(status: int) -> NoReturn:
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        os._exit(status)  # a thread waits for input that nobody wants any more
    sys.exit(status)
