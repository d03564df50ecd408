"""How many requests one account, or one address that nobody has logged in from, may make in a minute.

Every server of a studio counts in the same table, but not each request: a server adds what it has seen of somebody once
in `_EVERY` requests, and then reads what the others have seen. So a limit is exceeded by at most `_EVERY` requests a
server, and a request costs no write. Minutes are those of the clock.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from deeptrace.studio.database import Database, requests

__all__ = ["FILES_FACTOR", "Rates"]

WINDOW_S = 60
FILES_FACTOR = 5
"""Pictures, ranges of videos and the page's own files have a count of their own, which may be so many times higher."""
_EVERY = 25
_KNOWN = 10_000


@dataclass(slots=True)
class _Count:
    window: int
    total: int = 0
    unsaid: int = 0


class Rates:
    """The counts of one studio; used from any thread.

    Args:
        database: of the studio.
        most: requests a minute of one account or address; 0 for no limit.
        clock: of seconds.
    """

    def __init__(self, database: Database, most: int, *, clock: Callable[[], float] = time.time) -> None:
        self._database, self._most, self._clock = database, most, clock
        self._counts: OrderedDict[str, _Count] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, whose: str, *, file: bool = False) -> int:
        """Count a request; seconds after which somebody who asks too often may ask again, 0 for everybody else.

        Args:
            whose: account or address.
            file: whether it is one for a picture, a piece of a video or a file of the page.
        """
        if not self._most:
            return 0
        most = self._most * FILES_FACTOR if file else self._most
        key, now_s = f"{'file' if file else 'call'} {whose}"[:120], self._clock()
        window = int(now_s // WINDOW_S)
        with self._lock:
            count = self._counts.setdefault(key, _Count(window))
            self._counts.move_to_end(key)
            while len(self._counts) > _KNOWN:
                self._counts.popitem(last=False)
            if count.window != window:
                count.window, count.total, count.unsaid = window, 0, 0
            count.total += 1
            count.unsaid += 1
            said = count.unsaid if count.unsaid >= min(_EVERY, max(most // 4, 1)) else 0
            count.unsaid -= said
        if said:
            total = self._add(key, window, said)
            with self._lock:
                if count.window == window:
                    count.total = max(count.total, total + count.unsaid)
        over = count.total > most
        return max(int((window + 1) * WINDOW_S - now_s) + 1, 1) if over else 0

    def _add(self, key: str, window: int, count: int) -> int:
        """Add to what all servers have counted; the sum."""
        made = self._database.inserting(requests).values(whose=key, window=window, count=count)
        added = {"count": requests.c.count + made.excluded.count}
        made = made.on_conflict_do_update(index_elements=["whose", "window"], set_=added).returning(requests.c.count)
        with self._database.writing() as connection:
            total = int(connection.execute(made).scalar_one())
            if total == count:  # the first of a minute clears away what is over
                connection.execute(sa.delete(requests).where(requests.c.window < window - 1))
        return total
