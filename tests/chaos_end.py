"""What must be so after all the outages of :mod:`tests.chaos`, once its load has come to rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import attrs

from tests.chaos_load import Client
from tests.chaos_stack import Kept, Site, Target
from tests.chaos_world import File, World

#: Seconds within which all that was acknowledged is delivered, a delivered link is gone, its bytes are deleted, and
#: a daemon is ready again: a dead one's downloads are free after 15 s, and deleting is tried again after a minute.
DRAINED: Final = 120.0
GONE: Final = 30.0
DELETED: Final = 90.0
READY: Final = 30.0
_PAUSE: Final = 0.1
_AT_ONCE: Final = 4
#: Of many faults of one kind so many are told.
_TOLD: Final = 5


def within(seconds: float, probe: Callable[[], bool]) -> bool:
    """Wait until ``probe`` says so; tells whether it did in time."""
    ends = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > ends:
            return False
        time.sleep(_PAUSE)
    return True


@attrs.frozen(kw_only=True)
class Inspector:
    """Looks from outside, while the load goes on or after it.

    :param client: asks on behalf of all whom it needs.
    """

    site: Site
    world: World
    client: Client

    # -- links ------------------------------------------------------------------------------------

    def gone(self, files: Iterable[File]) -> list[File]:
        """See that delivered files are soon gone for others, at both daemons; returns those that are not."""
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            looks = [(file, threads.submit(self._is_gone, file)) for file in files]
            return [file for file, look in looks if not look.result()]

    def _is_gone(self, file: File) -> bool:
        return all(within(GONE, partial(self._told_so, file, daemon)) for daemon in self.site.daemons)

    def _told_so(self, file: File, daemon: Target) -> bool:
        return self.client.look(file, daemon) == 410

    def delivered(self) -> list[File]:
        """Return the files that were delivered, and of which a daemon has surely written that down or soon will."""
        return [file for file in self.world.files() if file.winner is not None and not self.world.doubtful(file.winner)]

    def check_delivered(self, checked: set[File]) -> None:
        """See that what was delivered by now and is not ``checked`` is soon gone."""
        files = [file for file in self.delivered() if file not in checked]
        self._not_gone(self.gone(files))
        checked.update(files)

    def _not_gone(self, files: list[File]) -> None:
        for file in files[:_TOLD]:
            self.world.fault(f"not gone within {GONE:g} s, though delivered", file)
        if len(files) > _TOLD:
            self.world.fault(f"nor are {len(files) - _TOLD} others gone")

    # -- the end ----------------------------------------------------------------------------------

    def check_all(self) -> None:
        """See that all is delivered, gone, and deleted, and that the daemons are well."""
        if not within(DRAINED, lambda: not self.world.undelivered()):
            for file in self.world.undelivered()[:_TOLD]:
                self.world.fault(f"not delivered within {DRAINED:g} s after the last outage", file)
        self.check_delivered(set())
        self._settle_doubts()
        if not within(GONE, lambda: not self.world.backlog):
            for file in self.world.wanted()[:_TOLD]:
                self.world.fault(f"somebody still asks, {GONE:g} s after all is gone", file)
        self._delete_rest()
        self._check_daemons()

    def _settle_doubts(self) -> None:
        """Let those go on who have all of it, where no daemon may know that."""
        files = [file for file in self.world.files() if file.winner is not None and self.world.doubtful(file.winner)]
        doubted = [file for file in files if any(self.client.look(file, each) != 410 for each in self.site.daemons)]
        for file in doubted:
            self.world.count("copies in doubt, fetched again by who has them")
            self._fetch_again(file)
        self._not_gone(self.gone(files))

    def _fetch_again(self, file: File) -> None:
        """Let its recipient fetch a file once more, unless it is gone for him, too."""
        if not within(GONE, lambda: self.client.ask_again(file)):
            self.world.fault(f"its own recipient did not get it again within {GONE:g} s", file)

    def _delete_rest(self) -> None:
        """See that no bytes stay: not of what was delivered in one piece, nor of the rest once its recipient has it."""
        if not within(DELETED, lambda: not any(map(self._should_be_deleted, self.site.kept()))):
            for drop in list(filter(self._should_be_deleted, self.site.kept()))[:_TOLD]:
                self.world.fault(f"{drop} is kept, claims {self.site.shown(drop)}", self.world.file(drop.name))
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            list(threads.map(self._give_up, self.site.kept()))
        if not within(DELETED, lambda: not self._remains()):
            self.world.fault(f"after {DELETED:g} s this is left: {self._remains()[:_TOLD]}")
            for drop in self.site.kept()[:_TOLD]:
                self.world.fault(f"{drop} is left, claims {self.site.shown(drop)}", self.world.file(drop.name))

    def _should_be_deleted(self, drop: Kept) -> bool:
        file = self.world.file(drop.name)
        if file is None:
            return not self.world.may_be_kept(drop.name)
        return file.winner is not None and file.winner.in_order and not self.world.doubtful(file.winner)

    def _give_up(self, drop: Kept) -> None:
        """Let a drop end that is rightly there: nobody was given its link, or a part of it is only presumed."""
        file = self.world.file(drop.name)
        if file is None:
            self.world.count("uploads kept of which nobody was told: taken back")
            if wrong := self.site.take_back(drop):
                self.world.fault(f"{drop} cannot be taken back: {wrong}")
        elif file.winner is not None:
            self.world.count("copies presumed, and confirmed by who has them")
            self._fetch_again(file)

    def _remains(self) -> list[str]:
        files = [str(path) for folder in ("blobs", "incoming") for path in self.site.files(folder)]
        return files + list(map(str, self.site.kept()))

    def _check_daemons(self) -> None:
        if not within(READY, self.site.are_ready):
            self.world.fault("not both daemons are ready in the end")
        for daemon in self.site.daemons:
            for line, times in daemon.bad_lines().most_common():
                self.world.fault(f"the log of the {daemon.name} has, {times} times: {line}")
